// The official Go client (clickhouse-go) against a server, over HTTP: client URL, where URL has the user and the password.
// Inserts batches, reads them back and compares every row, packed in each way, by its own interface and by database/sql,
// and sees proper errors. Ends with status 0 only if all was right.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

const (
	rows    = 20_000
	columns = "id UInt64, note String, kind LowCardinality(Nullable(String)), numbers Array(Int32), " +
		"labels Map(String, UInt8), at DateTime64(3, 'UTC')"
)

type row struct {
	ID      uint64           `ch:"id"`
	Note    string           `ch:"note"`
	Kind    *string          `ch:"kind"`
	Numbers []int32          `ch:"numbers"`
	Labels  map[string]uint8 `ch:"labels"`
	At      time.Time        `ch:"at"`
}

func expected(i int) row {
	var kind *string
	if i%3 > 0 {
		text := fmt.Sprint("kind-", i%7)
		kind = &text
	}
	numbers := make([]int32, i%5)
	for at := range numbers {
		numbers[at] = int32(at * i)
	}
	return row{
		ID:      uint64(i),
		Note:    fmt.Sprint("line ", i, "\n\n'quoted' \\ \x00 é ", strings.Repeat("x", i%300)),
		Kind:    kind,
		Numbers: numbers,
		Labels:  map[string]uint8{"a": uint8(i), "b": 1},
		At:      time.UnixMilli(int64(i)).UTC(),
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func expect(what string, got, wanted any) {
	if !reflect.DeepEqual(got, wanted) {
		log.Fatalf("%s: got %v, wanted %v", what, got, wanted)
	}
}

func options(u *url.URL, method clickhouse.CompressionMethod) *clickhouse.Options {
	password, _ := u.User.Password()
	return &clickhouse.Options{
		Addr:        []string{u.Host},
		Protocol:    clickhouse.HTTP,
		Auth:        clickhouse.Auth{Database: "default", Username: u.User.Username(), Password: password},
		Compression: &clickhouse.Compression{Method: method, Level: 3},
		Settings:    clickhouse.Settings{"max_block_size": 5000},
	}
}

// Its own interface.
func native(u *url.URL, method clickhouse.CompressionMethod) {
	ctx := context.Background()
	conn, err := clickhouse.Open(options(u, method))
	must(err)
	defer conn.Close()
	must(conn.Ping(ctx))
	must(conn.Exec(ctx, "DROP TABLE IF EXISTS go"))
	must(conn.Exec(ctx, "CREATE TABLE go ("+columns+") ENGINE = MergeTree ORDER BY id"))
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO go (id, note, kind, numbers, labels, at)")
	must(err)
	for i := range rows {
		next := expected(i)
		must(batch.AppendStruct(&next))
	}
	must(batch.Send())
	found, err := conn.Query(ctx, "SELECT id, note, kind, numbers, labels, at FROM go WHERE id >= $1 ORDER BY id", 10)
	must(err)
	next := 10
	for ; found.Next(); next++ {
		var got row
		must(found.ScanStruct(&got))
		expect(fmt.Sprint("row ", next), got, expected(next))
	}
	must(found.Err())
	expect("rows", next, rows)
	var count uint64
	must(conn.QueryRow(ctx, "SELECT count() FROM go WHERE id < 0").Scan(&count))
	expect("no rows", count, uint64(0))
	var shown []struct {
		Name string `ch:"name"`
	}
	must(conn.Select(ctx, &shown, "SHOW TABLES LIKE 'go'"))
	expect("tables", len(shown), 1)
	fails(conn.Exec(ctx, "SELECT * FROM nowhere"), 60)
	fails(conn.Exec(ctx, "SELECT nonsense FROM"), 62)
}

// database/sql.
func standard(u *url.URL) {
	db := clickhouse.OpenDB(options(u, clickhouse.CompressionNone))
	defer db.Close()
	must(db.Ping())
	_, err := db.Exec("TRUNCATE TABLE go")
	must(err)
	transaction, err := db.Begin()
	must(err)
	insert, err := transaction.Prepare("INSERT INTO go (id, note)")
	must(err)
	for i := range 1000 {
		_, err = insert.Exec(uint64(i), expected(i).Note)
		must(err)
	}
	must(transaction.Commit())
	found, err := db.Query("SELECT id, note FROM go WHERE note LIKE ? ORDER BY id", "line 99%")
	must(err)
	defer found.Close()
	seen := 0
	for ; found.Next(); seen++ {
		var id uint64
		var note string
		must(found.Scan(&id, &note))
		expect("note", note, expected(int(id)).Note)
	}
	must(found.Err())
	expect("rows found", seen, 11)
	_, err = db.Exec("SELECT * FROM nowhere")
	fails(err, 60)
}

func fails(err error, code int32) {
	var exception *clickhouse.Exception
	if !errors.As(err, &exception) {
		log.Fatalf("an exception was wanted, with code %d: %v", code, err)
	}
	expect("the code of an exception", exception.Code, code)
}

func main() {
	u, err := url.Parse(os.Args[1])
	must(err)
	methods := []clickhouse.CompressionMethod{
		clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionZSTD, clickhouse.CompressionGZIP,
	}
	for _, method := range methods {
		native(u, method)
	}
	standard(u)
	version := ""
	if build, known := debug.ReadBuildInfo(); known {
		for _, module := range build.Deps {
			if strings.HasPrefix(module.Path, "github.com/ClickHouse/clickhouse-go/") {
				version = module.Version
			}
		}
	}
	fmt.Printf("clickhouse-go %s: %d rows in and back\n", version, len(methods)*rows+1000)
}
