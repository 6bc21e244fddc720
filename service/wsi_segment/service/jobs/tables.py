"""The tables of the service. Times are seconds since 1970, UTC."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text, text

VERSION = "0006"
"""Version of the tables below: the last step in ``migrations/versions``."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

slides = Table(
    "slides",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("root", String(200), nullable=False),
    Column("path", Text, nullable=False),  # below the root
    Column("stamp", String(64)),  # of its files when the following was found, see slide_catalogue.py
    Column("description", JSON),
    Column("fingerprint", String(64), index=True),
)

roots = Table(
    "roots",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("marker", String(200), nullable=False),  # what its marker file said when it was first seen; else empty
    Column("inode", String(40), nullable=False),  # of the folder itself
)

batches = Table(
    "batches",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("number", Integer, unique=True, nullable=False),
    Column("name", String(200), nullable=False),
    Column("created", Float, nullable=False),
    Column("jobs", Integer, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("number", Integer, unique=True, nullable=False),  # in the order in which they were accepted
    Column("batch", String(32), ForeignKey("batches.id")),
    Column("slide", String(32), nullable=False),
    Column("client", String(200), nullable=False),  # who posted it: the name of a key, or empty
    Column("parameters", JSON, nullable=False),  # with their defaults; outlines are in a table of their own
    Column(
        "inputs", JSON(none_as_null=True)
    ),  # what the slide and the model were when it was accepted; see job_inputs.py
    Column("windows", Integer),  # that it needs at most, as far as that is known before it runs
    Column("status", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("turn", Integer, nullable=False),  # see queue.py
    Column("fence", Integer, nullable=False),  # grows with every claim; a worker's writes name the one it got
    Column("owner", String(200)),
    Column("lease", Float),  # until when it is the owner's
    Column("crashes", Integer, nullable=False),  # of its workers in a row, with no progress between them
    Column("kept", Integer, nullable=False),  # windows that its last run found finished
    Column("cancel", Float),  # when it was requested
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("finished", Float),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("stage", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("warnings", JSON, nullable=False),  # doubts about the result: [{"code", "message"}]
    Column("store", Text),  # of an adopted mask; any other lies in the data folder under the job's id
    Column("state", String(64)),  # of that store when it was adopted; see adopted_masks.py
    Column("removed", Float),  # when its results were removed
    Index(None, "status", "client", "priority", "turn", "number"),
    Index(None, "batch", "status", "number"),
    Index(None, "status", "number"),
)

outlines = Table(
    "outlines",
    metadata,
    Column("job", String(32), primary_key=True),
    Column("name", String(16), primary_key=True),  # of the parameter: region or tissue
    Column("geojson", JSON, nullable=False),
)

shares = Table(
    "shares",
    metadata,
    Column("client", String(200), primary_key=True),
    Column("served", Integer, nullable=False),  # jobs that were claimed for it, from the turn on at which it came
)

_PROGRESS = text("kind = 'progress'")

events = Table(
    "events",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("job", String(32), nullable=False),
    Column("batch", String(32)),
    Column("time", Float, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("data", JSON, nullable=False),
    Index(None, "job", "number"),
    Index(None, "batch", "number"),
    Index("ix_events_progress", "time", sqlite_where=_PROGRESS, postgresql_where=_PROGRESS),
)

counters = Table(
    "counters",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Integer, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("owner", String(100)),  # null for keys of an earlier version: who is called so
    Column("sha256", String(64), unique=True, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
)

sessions = Table(
    "sessions",
    metadata,
    Column("sha256", String(64), primary_key=True),  # of the cookie
    Column("key", String(100), nullable=False),  # name of the key that was exchanged for it
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False, index=True),
)

actions = Table(
    "actions",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("time", Float, nullable=False, index=True),
    Column("key", String(100), nullable=False),  # empty where none was asked for
    Column("owner", String(100), nullable=False),
    Column("address", String(100), nullable=False),
    Column("action", String(200), nullable=False),  # method and route
    Column("target", String(100), nullable=False, index=True),  # id of the job, batch or slide
    Column("status", Integer, nullable=False),  # of the answer
    Column("request", String(32), nullable=False),  # its id, as in the log
)

replies = Table(
    "replies",
    metadata,
    Column("key", String(500), primary_key=True),  # Idempotency-Key, with who used it and where
    Column("request", String(64), nullable=False),  # sha256 of its body
    Column("created", Float, nullable=False, index=True),
    Column("status", Integer, nullable=False),
    Column("headers", JSON, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

hooks = Table(
    "hooks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("key", String(100), nullable=False, index=True),  # name of the key that it was made with, or empty
    Column("url", Text, nullable=False),
    Column("events", JSON, nullable=False),  # types that it wants
    Column("prefix", String(200), nullable=False),  # path before the server's addresses where it was made
    Column("created", Float, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", String(32), primary_key=True),  # the same with each attempt
    Column("hook", String(32), nullable=False),
    Column("type", String(16), nullable=False),
    Column("data", JSON, nullable=False),  # of the message
    Column("time", Float, nullable=False),  # when it happened
    Column("attempts", Integer, nullable=False),
    Column("due", Float),  # when it is sent, or again; null once it was delivered or given up
    Column("delivered", Float),
    Column("error", Text, nullable=False),  # of the last attempt
    Index(None, "due", "hook"),
    Index(None, "hook", "time"),
)
