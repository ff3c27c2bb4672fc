"""Writes through one pgroute and reads through another, and counts the reads
that did not see the write before them.

usage: program.py psycopg2|psycopg token|none LEVEL ROUNDS TABLE WRITER-DSN READER-DSN
"""

import importlib
import sys
import time

import pgroute_token


def settle(cur, table):
    """Read until replicas serve the reads. Drivers greet the primary with
    settings of their own, and pgroute has to learn of a new table before it
    takes a query of it for a read."""
    cur.execute("SET pgroute.wait = '60s'")
    in_a_row = 0
    while in_a_row < 2:
        cur.execute("SELECT count(*) FROM " + table)
        cur.execute("SHOW pgroute.last_route")
        if cur.fetchone()[1] == "replica":
            in_a_row += 1
        else:
            in_a_row = 0
            time.sleep(0.02)
    cur.execute("RESET pgroute.wait")


driver, mode, level, rounds, table, writer_dsn, reader_dsn = sys.argv[1:]
driver = importlib.import_module(driver)

writer = driver.connect(writer_dsn)
reader = driver.connect(reader_dsn)
reader.autocommit = True
with reader.cursor() as cur:
    cur.execute("SET pgroute.consistency = " + level)
    settle(cur, table)
pgroute_token.report(writer)
writer.commit()
print("connected", flush=True)
sys.stdin.readline()

stale = 0
for n in range(int(rounds)):
    with writer.cursor() as cur:
        cur.execute("INSERT INTO " + table + " VALUES (%s)", (n,))
    writer.commit()
    if mode == "token":
        pgroute_token.accept(reader, pgroute_token.token(writer))
    with reader.cursor() as cur:
        cur.execute("SELECT count(*) FROM " + table + " WHERE n = %s", (n,))
        if cur.fetchone()[0] == 0:
            stale += 1
print("reported", writer.info.parameter_status("pgroute.token") is not None)
print("stale", stale)
