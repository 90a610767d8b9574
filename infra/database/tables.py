"""The ledger's tables. Times are UTC text of the database's own clock; order is `seq`, `id` or `epoch`, never time.

The migrations make them, and the guards (triggers) that these columns cannot say; a test compares the two.
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from infra.database.values import Json

RUN_STATES = ("running", "done", "refused", "failed", "interrupted", "preempted", "crashed")
STAGE_STATES = ("trained", "done", "failed", "refused", "interrupted")
VERSION_STAGES = ("pretrained", "instruct", "reward", "aligned", "imported")
VERDICTS = ("PASS", "FAIL", "INSUFFICIENT")
PROMOTION_STATES = (
    "REGISTERED",
    "EVALUATED",
    "GATE_PASSED",
    "GATE_FAILED",
    "PENDING_APPROVAL",
    "APPROVED",
    "APPLYING",
    "CHAMPION",
    "SUPERSEDED",
    "ROLLED_BACK",
    "EXPIRED",
    "REJECTED",
    "ABORTED",
)

metadata = MetaData()


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"known_{column}")


data_lock = Table(
    "data_lock",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

run = Table(
    "run",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("recipe_name", Text, nullable=False),
    Column("recipe", Json, nullable=False),
    Column("recipe_digest", Text, nullable=False),
    Column("code", Text),
    Column("command", Json, nullable=False),
    Column("state", Text, nullable=False),
    Column("record", Json),
    Column("data_lock", Text, ForeignKey("data_lock.sha256")),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started", Float, nullable=False),
    Column("started", Text, nullable=False),
    Column("ended", Text),
    _one_of("state", RUN_STATES),
)

stage_result = Table(
    "stage_result",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", Text, ForeignKey("run.run_id"), nullable=False),
    Column("stage", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("outcome", Json, nullable=False),
    Column("artifacts", Json, nullable=False),
    Column("at", Text, nullable=False),
    _one_of("state", STAGE_STATES),
    Index("stage_result_key", "key"),
)

artifact = Table(
    "artifact",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("parents", Json, nullable=False),
    Column("summary", Json, nullable=False),
    Column("created", Text, nullable=False),
)

model_version = Table(
    "model_version",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("parents", Json, nullable=False),
    Column("recipe", Json, nullable=False),
    Column("figures", Json, nullable=False),
    Column("run_id", Text, ForeignKey("run.run_id")),
    Column("author", Text, nullable=False),
    Column("created", Text, nullable=False),
    UniqueConstraint("name", "digest"),
    _one_of("stage", VERSION_STAGES),
    Index("model_version_digest", "digest"),
)

gate_report = Table(
    "gate_report",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("model_digest", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("report", Json, nullable=False),
    Column("gates_digest", Text, nullable=False),
    Column("data", Json, nullable=False),
    Column("code", Text),
    Column("created", Text, nullable=False),
    ForeignKeyConstraint(["name", "model_digest"], ["model_version.name", "model_version.digest"]),
    _one_of("verdict", VERDICTS),
)

promotion_transition = Table(
    "promotion_transition",
    metadata,
    Column("before", Text, primary_key=True),
    Column("after", Text, primary_key=True),
)

promotion = Table(
    "promotion",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("candidate_digest", Text, nullable=False),
    Column("gate_report_digest", Text, ForeignKey("gate_report.digest")),
    Column("expected_champion_digest", Text),
    Column("expected_epoch", Integer, nullable=False),
    Column("previous_promotion_id", Integer, ForeignKey("promotion.id")),
    Column("state", Text, nullable=False),
    Column("outcome", Text),
    Column("author", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("created", Text, nullable=False),
    Column("expires", Text, nullable=False),
    Column("changed", Text, nullable=False),
    ForeignKeyConstraint(["name", "candidate_digest"], ["model_version.name", "model_version.digest"]),
    _one_of("kind", ("promotion", "rollback")),
    _one_of("state", PROMOTION_STATES),
    CheckConstraint("kind = 'rollback' OR gate_report_digest IS NOT NULL", name="gated"),
)

approval = Table(
    "approval",
    metadata,
    Column("promotion_id", Integer, ForeignKey("promotion.id"), primary_key=True, autoincrement=False),
    Column("approver", Text, primary_key=True),
    Column("decision", Text, nullable=False),
    Column("gate_report_digest", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("expires", Text, nullable=False),
    _one_of("decision", ("approved", "rejected")),
)

champion = Table(
    "champion",
    metadata,
    Column("name", Text, primary_key=True),
    Column("digest", Text),
    Column("epoch", Integer, nullable=False),
    Column("promotion_id", Integer, ForeignKey("promotion.id")),
    ForeignKeyConstraint(["name", "digest"], ["model_version.name", "model_version.digest"]),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("payload", Json, nullable=False),
    Column("created", Text, nullable=False),
    Column("done_at", Text),
    Column("attempts", Integer, nullable=False),
    Column("last_error", Text),
    UniqueConstraint("kind", "name", "epoch"),
)

event = Table(
    "event",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text),
    Column("payload", Json, nullable=False),
    Column("prev_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

# The last event once more: without it, cutting off the end of the chain would not be seen.
event_head = Table(
    "event_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, nullable=False),
    Column("hash", Text, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

scheduled_run = Table(
    "scheduled_run",
    metadata,
    Column("run_key", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("claimed", Text, nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("expires", Text, nullable=False),
)
