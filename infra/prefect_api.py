"""What `espalier up` asks of the Prefect server: its work pool, its worker, and the rule that ends lost runs.

Plain HTTP, since importing prefect takes two seconds and reads its settings once, before the server has an address.
"""

import base64
import json
import secrets
import urllib.error
import urllib.request
from typing import Any

WORK_POOL = "espalier"
ZOMBIE_AUTOMATION = "espalier: a run without heartbeats has crashed"
HEARTBEAT_SECONDS = 30
LOST_AFTER_SECONDS = 3 * HEARTBEAT_SECONDS
HEARTBEAT = "prefect.flow-run.heartbeat"
ENDINGS = ("Completed", "Failed", "Cancelled", "Crashed")


class PrefectAPI:
    """One server at `url` (it ends in /api); `auth` is "user:password". OSError when it cannot be reached."""

    def __init__(self, url: str, auth: str | None, timeout_seconds: float = 10.0) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout_seconds
        self._client = secrets.token_hex(8)
        self._headers = {"Content-Type": "application/json"}
        if auth is not None:
            self._headers["Authorization"] = "Basic " + base64.b64encode(auth.encode()).decode()
        # No proxy: the server is on this machine whatever http_proxy says.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str) -> Any:
        return self._send("GET", path, None, {})

    def send(self, method: str, path: str, body: object) -> Any:
        """A writing call (and POST .../filter counts as one): the server wants its own token against foreign pages."""
        token = self.get(f"/csrf-token?client={self._client}")["token"]
        return self._send(method, path, body, {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": self._client})

    def _send(self, method: str, path: str, body: object, extra: dict[str, str]) -> Any:
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={**self._headers, **extra},
        )
        with self._opener.open(request, timeout=self._timeout) as response:
            text = response.read()
        return json.loads(text) if text else None


def is_healthy(url: str) -> bool:
    """The one question that the server answers without a password."""
    try:
        return PrefectAPI(url, None, timeout_seconds=2.0).get("/health") is True
    except (OSError, ValueError):
        return False


def ensure_work_pool(api: PrefectAPI) -> bool:
    """True when the pool had to be made. One run at a time: two would wait for one another's lock on the checkout."""
    try:
        api.get(f"/work_pools/{WORK_POOL}")
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        api.send("POST", "/work_pools/", {"name": WORK_POOL, "type": "process", "concurrency_limit": 1})
        return True
    return False


def online_workers(api: PrefectAPI) -> list[str]:
    """The names of the workers that poll our pool now."""
    found = api.send("POST", f"/work_pools/{WORK_POOL}/workers/filter", {})
    return [str(worker["name"]) for worker in found if worker["status"] == "ONLINE"]


def ensure_zombie_automation(api: PrefectAPI) -> bool:
    """Mark runs CRASHED whose heartbeats stopped; True when the rule had to be made or mended.

    A killed process cannot report its own end: without this its run stays RUNNING and keeps its slot in the pool for
    ever (PrefectHQ/prefect issue 16746; the rule is the one of Prefect's documentation, "detect zombie flows").
    """
    wanted = _zombie_automation()
    found = api.send("POST", "/automations/filter", {"automations": {"name": {"any_": [ZOMBIE_AUTOMATION]}}})
    if found and _same(wanted, found[0]):
        return False
    for automation in found:
        api.send("DELETE", f"/automations/{automation['id']}", None)
    api.send("POST", "/automations/", wanted)
    return True


def _zombie_automation() -> dict[str, Any]:
    return {
        "name": ZOMBIE_AUTOMATION,
        "description": f"A run that has sent heartbeats and is silent for {LOST_AFTER_SECONDS} s has lost its process.",
        "enabled": True,
        "trigger": {
            "type": "event",
            "posture": "Proactive",
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "for_each": ["prefect.resource.id"],
            "after": [HEARTBEAT],
            "expect": [HEARTBEAT, *(f"prefect.flow-run.{ending}" for ending in ENDINGS)],
            "threshold": 1,
            "within": LOST_AFTER_SECONDS,
        },
        "actions": [
            {
                "type": "change-flow-run-state",
                "state": "CRASHED",
                "message": f"no heartbeat for {LOST_AFTER_SECONDS} s: its process is gone; run again to go on",
            }
        ],
    }


def _same(wanted: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether the server's copy still says what ours says; it adds ids and defaults, and may reorder the sets."""
    if not found["enabled"] or found["actions"][0].get("message") != wanted["actions"][0]["message"]:
        return False
    theirs, ours = found["trigger"], wanted["trigger"]
    same_events = all(sorted(theirs[name]) == sorted(ours[name]) for name in ("after", "expect", "for_each"))
    return same_events and theirs["posture"] == ours["posture"] and float(theirs["within"]) == float(ours["within"])
