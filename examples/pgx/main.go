// Pays small invoices and lists all of them, ten times, as whoever the token in PGPASSWORD says.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

type invoice struct {
	ID       int
	Customer string
	Amount   string
	State    string
}

func main() {
	ctx := context.Background()
	// pgx reads PGHOST, PGPASSWORD, PGSSLMODE and so on. It prepares every statement, and executes it under its name from then on.
	db, err := pgxpool.New(ctx, "pool_max_conns=2")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	var tenant string
	var list []invoice
	for range 10 {
		err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "UPDATE invoice SET paid = true WHERE amount < $1", 100); err != nil {
				return err
			}
			if err := tx.QueryRow(ctx, "SELECT jwt('tenant_id')").Scan(&tenant); err != nil {
				return err
			}
			rows, _ := tx.Query(ctx, `SELECT id, customer, amount::text, CASE WHEN paid THEN 'paid' ELSE 'open' END
				FROM invoice ORDER BY id`)
			list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[invoice])
			return err
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("tenant", tenant)
	for _, i := range list {
		fmt.Println(i.ID, i.Customer, i.Amount, i.State)
	}
}
