"""Pays small invoices and lists all of them, ten times, as whoever the token in PGPASSWORD says."""

import psycopg


def pay_and_list(conn, limit):
    with conn.transaction():
        conn.execute("UPDATE invoice SET paid = true WHERE amount < %s", [limit])
        (tenant,) = conn.execute("SELECT jwt('tenant_id')").fetchone()
        rows = conn.execute("SELECT id, customer, amount, paid FROM invoice ORDER BY id").fetchall()
    return tenant, rows


# psycopg reads PGHOST, PGPASSWORD, PGSSLMODE and so on. It prepares a statement when it sees it for the fifth time.
with psycopg.connect() as conn:
    for _ in range(10):
        tenant, rows = pay_and_list(conn, 100)

print("tenant", tenant)
for number, customer, amount, paid in rows:
    print(number, customer, amount, "paid" if paid else "open")
