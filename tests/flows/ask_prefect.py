"""What Prefect's API says of all flow runs, as JSON; started in the environment of a checkout."""

import json

from infra.settings import apply_environment, load_settings

if __name__ == "__main__":
    apply_environment(load_settings())
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    with get_client(sync_client=True) as client:
        flows = {flow.id: flow.name for flow in client.read_flows()}
        runs = client.read_flow_runs()
        tasks = {task.id: task for task in client.read_task_runs()}
        found = []
        for run in runs:
            kept = client.read_artifacts(
                artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
            )
            parent = tasks[run.parent_task_run_id].flow_run_id if run.parent_task_run_id in tasks else None
            found.append(
                {
                    "id": str(run.id),
                    "flow": flows[run.flow_id],
                    "state": run.state.type.value if run.state else None,
                    "name": run.state.name if run.state else None,
                    "message": run.state.message if run.state else None,
                    "parent": str(parent) if parent else None,
                    "parameters": run.parameters,
                    "artifacts": sorted({artifact.key for artifact in kept if artifact.key}),
                }
            )
    print(json.dumps(found))
