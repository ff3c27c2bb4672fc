"""Hands the promise "whoever comes next sees at least what I wrote" from one
connection to another, through pgroute. For psycopg2 and psycopg (3).

The writer connects with options='-c pgroute.report_token=on', or executes
report(conn) once. After each write, token(conn) is a short text to be handed
on: in a cookie, a header, a message. The reader calls accept(conn, text) before
it reads.
"""

import re

_TOKEN = re.compile(r"pgr1_[A-Za-z0-9_-]{48}")


def report(conn):
    """Ask for a token after each write of this connection. Outside of autocommit
    it counts from the next commit on, as every SET."""
    with conn.cursor() as cur:
        cur.execute("SET pgroute.report_token = on")


def token(conn):
    """Return a token of everything that this connection has committed."""
    # It came with the answer to the write, so this asks nobody.
    value = conn.info.parameter_status("pgroute.token")
    if not value:
        with conn.cursor() as cur:
            cur.execute("SHOW pgroute.token")
            value = cur.fetchone()[0]
    return value


def accept(conn, value):
    """Let this connection read nothing that is older than the token. A token
    that is foreign or forged raises an error with SQLSTATE 22023."""
    if not _TOKEN.fullmatch(value):
        raise ValueError("malformed pgroute token")
    with conn.cursor() as cur:
        cur.execute("SET pgroute.token = '" + value + "'")
