"""The first tables, and the guards that make states, epochs and the audit hold against whoever writes SQL."""

import sqlalchemy as sa
from alembic import op

from infra.database.guards import Guard, append_only, statements

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TRANSITIONS = {
    "REGISTERED": ["EVALUATED", "ABORTED"],
    "EVALUATED": ["GATE_PASSED", "GATE_FAILED", "ABORTED"],
    "GATE_PASSED": ["PENDING_APPROVAL", "ABORTED"],
    "PENDING_APPROVAL": ["APPROVED", "REJECTED", "EXPIRED", "ABORTED"],
    "APPROVED": ["APPLYING", "REJECTED", "EXPIRED", "ABORTED"],
    # The champion may lose its place before its alias was set: MLflow can be down for long.
    "APPLYING": ["CHAMPION", "SUPERSEDED", "ROLLED_BACK"],
    "CHAMPION": ["SUPERSEDED", "ROLLED_BACK"],
}
PROMOTION_STATES = (
    "'REGISTERED', 'EVALUATED', 'GATE_PASSED', 'GATE_FAILED', 'PENDING_APPROVAL', 'APPROVED', 'APPLYING', "
    "'CHAMPION', 'SUPERSEDED', 'ROLLED_BACK', 'EXPIRED', 'REJECTED', 'ABORTED'"
)

GUARDS = [
    *append_only("event"),
    *append_only("approval"),
    *append_only("gate_report"),
    *append_only("data_lock"),
    *append_only("promotion", but_updates=True),
    *append_only("champion", but_updates=True),
    *append_only("model_version", but_updates=True),
    *append_only("promotion_transition"),
    Guard(
        name="promotion_start",
        table="promotion",
        on="INSERT",
        forbidden="NOT (NEW.state = 'REGISTERED' OR (NEW.kind = 'rollback' AND NEW.state = 'APPROVED'))",
        says="promotion: starts as REGISTERED, a rollback as APPROVED",
    ),
    Guard(
        name="promotion_step",
        table="promotion",
        on="UPDATE OF state",
        forbidden="NOT EXISTS (SELECT 1 FROM promotion_transition t WHERE t.before = OLD.state AND t.after = NEW.state)",
        says="promotion: illegal transition",
    ),
    Guard(
        name="promotion_identity",
        table="promotion",
        on="UPDATE",
        forbidden="NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.name <> OLD.name OR NEW.author <> OLD.author "
        "OR NEW.candidate_digest <> OLD.candidate_digest OR NEW.expected_epoch <> OLD.expected_epoch "
        "OR COALESCE(NEW.gate_report_digest, '') <> COALESCE(OLD.gate_report_digest, '') "
        "OR NEW.idempotency_key <> OLD.idempotency_key",
        says="promotion: what was proposed never changes",
    ),
    Guard(
        name="promotion_gate",
        table="promotion",
        on="UPDATE OF state",
        forbidden="NEW.state = 'GATE_PASSED' AND NOT EXISTS (SELECT 1 FROM gate_report g WHERE g.verdict = 'PASS' "
        "AND g.digest = NEW.gate_report_digest AND g.name = NEW.name AND g.model_digest = NEW.candidate_digest)",
        says="promotion: no gate report of this model says PASS",
    ),
    Guard(
        name="promotion_approved",
        table="promotion",
        on="UPDATE OF state",
        forbidden="NEW.state = 'APPROVED' AND NOT EXISTS (SELECT 1 FROM approval a WHERE a.promotion_id = NEW.id "
        "AND a.decision = 'approved' AND a.gate_report_digest = NEW.gate_report_digest)",
        says="promotion: nobody has approved this gate report",
    ),
    Guard(
        name="approval_by_another",
        table="approval",
        on="INSERT",
        forbidden="NEW.decision = 'approved' AND EXISTS (SELECT 1 FROM promotion p JOIN model_version v "
        "ON v.name = p.name AND v.digest = p.candidate_digest "
        "WHERE p.id = NEW.promotion_id AND NEW.approver IN (p.author, v.author))",
        says="approval: authors do not approve their own candidates",
    ),
    Guard(
        name="version_identity",
        table="model_version",
        on="UPDATE",
        forbidden="NEW.name <> OLD.name OR NEW.version <> OLD.version OR NEW.digest <> OLD.digest "
        "OR NEW.stage <> OLD.stage OR NEW.author <> OLD.author",
        says="model_version: what was registered never changes",
    ),
    Guard(
        name="champion_start",
        table="champion",
        on="INSERT",
        forbidden="NEW.epoch <> 0 OR NEW.digest IS NOT NULL",
        says="champion: starts as nobody at epoch 0",
    ),
    Guard(
        name="champion_epoch",
        table="champion",
        on="UPDATE",
        forbidden="NEW.name <> OLD.name OR NEW.epoch <> OLD.epoch + 1 OR NEW.digest IS NULL",
        says="champion: the epoch rises by one, and there is always a champion",
    ),
]


def upgrade() -> None:
    _runs()
    _versions()
    _promotions()
    _audit()
    steps = [{"before": before, "after": after} for before, afters in TRANSITIONS.items() for after in afters]
    op.bulk_insert(sa.table("promotion_transition", sa.column("before"), sa.column("after")), steps)
    op.execute("INSERT INTO event_head (id, seq, hash) VALUES (1, 0, '')")
    connection = op.get_bind()
    for guard in GUARDS:
        for statement in statements(guard, connection.dialect.name):
            connection.exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("a ledger is not taken back to an older schema; use the backup beside it")


def _text(name: str, *, null: bool = False, key: bool = False, unique: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null, primary_key=key, unique=unique)


def _number(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=null)


def _check(condition: str, name: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=name)


def _runs() -> None:
    op.create_table("data_lock", _text("sha256", key=True), sa.Column("content", sa.LargeBinary, nullable=False))
    op.create_table(
        "run",
        _text("run_id", key=True),
        _text("recipe_name"),
        _text("recipe"),
        _text("recipe_digest"),
        _text("code", null=True),
        _text("command"),
        _text("state"),
        _text("record", null=True),
        sa.Column("data_lock", sa.Text, sa.ForeignKey("data_lock.sha256")),
        _text("host"),
        _number("pid"),
        sa.Column("process_started", sa.Float, nullable=False),
        _text("started"),
        _text("ended", null=True),
        _check(
            "state IN ('running', 'done', 'refused', 'failed', 'interrupted', 'preempted', 'crashed')", "known_state"
        ),
    )
    op.create_table(
        "stage_result",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Text, sa.ForeignKey("run.run_id"), nullable=False),
        _text("stage"),
        _text("key"),
        _text("state"),
        _text("outcome"),
        _text("artifacts"),
        _text("at"),
        _check("state IN ('trained', 'done', 'failed', 'refused', 'interrupted')", "known_state"),
    )
    op.create_index("stage_result_key", "stage_result", ["key"])
    op.create_table("scheduled_run", _text("run_key", key=True), _text("run_id"), _text("claimed"))
    op.create_table("lease", _text("name", key=True), _text("owner"), _number("epoch"), _text("expires"))


def _versions() -> None:
    op.create_table(
        "artifact",
        _text("digest", key=True),
        _text("kind"),
        _text("path"),
        _text("parents"),
        _text("summary"),
        _text("created"),
    )
    op.create_table(
        "model_version",
        _text("name", key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        _text("digest"),
        _text("stage"),
        _text("path"),
        _text("parents"),
        _text("recipe"),
        _text("figures"),
        sa.Column("run_id", sa.Text, sa.ForeignKey("run.run_id")),
        _text("author"),
        _text("created"),
        sa.UniqueConstraint("name", "digest"),
        _check("stage IN ('pretrained', 'instruct', 'reward', 'aligned', 'imported')", "known_stage"),
    )
    op.create_index("model_version_digest", "model_version", ["digest"])
    op.create_table(
        "gate_report",
        _text("digest", key=True),
        _text("name"),
        _text("model_digest"),
        _text("verdict"),
        _text("report"),
        _text("gates_digest"),
        _text("data"),
        _text("code", null=True),
        _text("created"),
        sa.ForeignKeyConstraint(["name", "model_digest"], ["model_version.name", "model_version.digest"]),
        _check("verdict IN ('PASS', 'FAIL', 'INSUFFICIENT')", "known_verdict"),
    )


def _promotions() -> None:
    op.create_table("promotion_transition", _text("before", key=True), _text("after", key=True))
    op.create_table(
        "promotion",
        sa.Column("id", sa.Integer, primary_key=True),
        _text("kind"),
        _text("name"),
        _text("candidate_digest"),
        sa.Column("gate_report_digest", sa.Text, sa.ForeignKey("gate_report.digest")),
        _text("expected_champion_digest", null=True),
        _number("expected_epoch"),
        sa.Column("previous_promotion_id", sa.Integer, sa.ForeignKey("promotion.id")),
        _text("state"),
        _text("outcome", null=True),
        _text("author"),
        _text("reason"),
        _text("idempotency_key", unique=True),
        _text("created"),
        _text("expires"),
        _text("changed"),
        sa.ForeignKeyConstraint(["name", "candidate_digest"], ["model_version.name", "model_version.digest"]),
        _check("kind IN ('promotion', 'rollback')", "known_kind"),
        _check(f"state IN ({PROMOTION_STATES})", "known_state"),
        _check("kind = 'rollback' OR gate_report_digest IS NOT NULL", "gated"),
    )
    op.create_table(
        "approval",
        sa.Column("promotion_id", sa.Integer, sa.ForeignKey("promotion.id"), primary_key=True, autoincrement=False),
        _text("approver", key=True),
        _text("decision"),
        _text("gate_report_digest"),
        _text("reason"),
        _text("at"),
        _text("expires"),
        _check("decision IN ('approved', 'rejected')", "known_decision"),
    )
    op.create_table(
        "champion",
        _text("name", key=True),
        _text("digest", null=True),
        _number("epoch"),
        sa.Column("promotion_id", sa.Integer, sa.ForeignKey("promotion.id")),
        sa.ForeignKeyConstraint(["name", "digest"], ["model_version.name", "model_version.digest"]),
    )


def _audit() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, primary_key=True),
        _text("kind"),
        _text("name"),
        _number("epoch"),
        _text("payload"),
        _text("created"),
        _text("done_at", null=True),
        _number("attempts"),
        _text("last_error", null=True),
        sa.UniqueConstraint("kind", "name", "epoch"),
    )
    op.create_table(
        "event",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        _text("at"),
        _text("actor"),
        _text("kind"),
        _text("name", null=True),
        _text("payload"),
        _text("prev_hash"),
        _text("hash"),
    )
    op.create_table(
        "event_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        _number("seq"),
        _text("hash"),
        _check("id = 1", "one_row"),
    )
