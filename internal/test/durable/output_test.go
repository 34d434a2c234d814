//go:build unix

package durable

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/gamma-sdk/gamma-go/poller/riverwait"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

var update = flag.Bool("update", false, "write testdata/rows.json")

// TestHostileResponses ends a wait with each response: the job becomes available, and Result
// returns the outcome.
func TestHostileResponses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := strings.Repeat("<", 900_000)
	deep := strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000)
	completed := func(members string) string {
		return `{"generationId": "ID", "status": "completed", ` + members + `}`
	}
	failed := func(members string) string {
		return `{"generationId": "ID", "status": "failed", "error": {` + members + `}}`
	}
	rows := []struct {
		name   string
		body   string
		text   string // part of the outcome
		status int
	}{
		{"NUL in a string", completed(`"gammaUrl": "https://gamma.app/\u0000\\u0000\\\u0000"`), "completed", 200},
		{"only NUL in a string", completed(`"gammaUrl": "\u0000"`), "completed", 200},
		{"NUL in a name", completed(`"x\u0000": 1`), "completed", 200},
		{"lone surrogates", completed(`"gammaUrl": "\ud800 \udc00 \ud800\ud800"`), "completed", 200},
		{"invalid UTF-8", completed("\"gammaUrl\": \"\xff\xfe\xed\xa0\x80\""), "completed", 200},
		{"a raw NUL", completed("\"gammaUrl\": \"\x00\""), "deadline exceeded; last error", 200},
		{"string of 900 KB", completed(`"gammaUrl": "` + long + `"`), "completed", 200},
		{"huge numbers", completed(`"credits": {"deducted": 1e308, "remaining": -1e308}`), "completed", 200},
		{"numbers out of range", completed(`"credits": {"deducted": 1e99999, "remaining": -1e99999}`), "completed", 200},
		{"deep members", completed(`"x": ` + deep), "", 200},
		{"deep nesting in credits", completed(`"credits": ` + deep), "", 200},
		{"duplicate names", completed(`"gammaUrl": "a", "gammaUrl": "b"`), "completed", 200},
		{"names that riverwait uses", completed(`"gammaWait": {"text": "x"}, "output": 1, "gamma": {"id": "other"}`), "completed", 200},
		{"NUL in a failure", failed(`"message": "no\u0000", "statusCode": 422`), "failed: no", 200},
		{"failure of 900 KB", failed(`"message": "` + long + `", "statusCode": 422`), "failed: <<<", 200},
		{"failure with a huge status", failed(`"message": "x", "statusCode": 1e308`), "failed: x", 200},
		{"a failure with invalid UTF-8", failed("\"message\": \"\xff\""), "failed", 200},
		{"404 with NUL", `{"message": "no\u0000` + "\xff" + `\ud800", "statusCode": 404}`, "404 Not Found", 404},
		{"NUL in the status", `{"generationId": "ID", "status": "odd\u0000", "error": {"message": "x", "statusCode": 1}}`, "failed", 200},
	}
	texts := make(chan [2]string, len(rows))
	w.work(func(_ context.Context, job *river.Job[finishArgs]) error {
		gen, err := riverwait.Result(job)
		text := "completed"
		if err != nil {
			text = err.Error()
		}
		if gen == nil && err == nil {
			text = "nothing"
		}
		texts <- [2]string{rows[job.Args.Deck].name, text}
		return nil
	})
	w.watch(func(watcher *riverwait.Watcher) { watcher.Timeout = 5 * time.Second })
	all := ids("g", len(rows))
	for i, id := range all {
		w.fake.Add(id, gammatest.Raw(rows[i].status, "application/json", strings.ReplaceAll(rows[i].body, "ID", id)))
	}
	w.insert(all...)
	got := map[string]string{}
	for range rows {
		select {
		case text := <-texts:
			got[text[0]] = text[1]
		case <-time.After(20 * time.Second):
		}
	}
	for _, row := range rows {
		text, ok := got[row.name]
		if !ok || !strings.Contains(text, row.text) || strings.Contains(text, riverwait.ErrNoResult.Error()) {
			t.Errorf("%s: %v %q, want %q", row.name, ok, text, row.text)
		}
		delete(got, row.name)
	}
	if n := w.log.count("cannot be made available"); n > 0 {
		t.Errorf("a response could not be saved:\n%s", w.log.String())
	}
}

// scan returns the rows of the database that have a text: the table, and the row as text.
func (w *world) scan(text string) (found []string) {
	w.Helper()
	ctx := context.Background()
	rows, err := w.pool.Query(ctx, "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
	if err != nil {
		w.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 5 {
		w.Fatal(tables, err)
	}
	for _, table := range append(tables, "pg_stat_activity") {
		rows, err := w.pool.Query(ctx, "SELECT t::text FROM "+table+" AS t WHERE strpos(t::text, $1) > 0", text)
		if err != nil {
			w.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			w.Fatal(err)
		}
		for _, line := range lines {
			if table != "pg_stat_activity" || !strings.Contains(line, "strpos") { // this query
				found = append(found, table+": "+line)
			}
		}
	}
	return found
}

// TestSecrets looks for the API key and the link to an export in all of the database.
func TestSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.work(w.outcome)
	w.watch(func(watcher *riverwait.Watcher) { watcher.Timeout = 4 * time.Second })
	const link = "https://export.example/secret-link.pdf?signature=1"
	echo := `{"message": "not a key: ` + gammatest.Key + ` (` + strings.ToUpper(gammatest.Key) + `)", "statusCode": 401, "KEY": "` + gammatest.Key + `"}`
	w.fake.Add("exported", gammatest.Completed(link))
	w.fake.Add("unauthorized", gammatest.Raw(401, "application/json", echo))
	w.fake.Add("lost", gammatest.Raw(404, "application/json", strings.ReplaceAll(echo, "401", "404")))
	w.fake.Add("failed", gammatest.Malformed(`{"generationId": "failed", "status": "failed", "error": {"message": "`+gammatest.Key+`", "statusCode": 422}}`))
	w.fake.Add("url", gammatest.Malformed(`{"generationId": "url", "status": "completed", "gammaUrl": "https://gamma.app/?key=`+gammatest.Key+`"}`))
	w.fake.Add("unreadable", gammatest.Raw(200, "text/html", gammatest.Key))
	err := pgx.BeginFunc(context.Background(), w.pool, func(tx pgx.Tx) error {
		_, err := riverwait.InsertTx(context.Background(), w.river, tx, poller.Progress{ID: "exported", Export: true}, finishArgs{}, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.insert("unauthorized", "lost", "failed", "url", "unreadable")
	w.once(6)
	if found := w.scan("unauthorized"); len(found) == 0 {
		t.Error("the scan finds nothing")
	}
	for _, key := range []string{gammatest.Key, gammatest.Key[len(gammatest.Key)-16:]} {
		if found := w.scan(key); len(found) > 0 {
			t.Errorf("the key is in the database: %q", found)
		}
	}
	if n := len(w.scan("secret-link")); n != 1 {
		t.Errorf("%d rows have the link, want the job", n)
	}
	w.exec("UPDATE river_job SET metadata = metadata - 'output'")
	if found := w.scan("secret-link"); len(found) > 0 {
		t.Errorf("the link is in other places too: %q", found)
	}
	if strings.Contains(w.log.String(), gammatest.Key) || strings.Contains(w.log.String(), "secret-link") {
		t.Errorf("the log has a secret:\n%s", w.log.String())
	}
}

// row is a job in testdata/rows.json, as the first version wrote it. Every later version must
// read it. Add rows for what a later version writes; change none.
type row struct {
	Name     string          `json:"name"`
	Kind     string          `json:"kind"`
	Args     json.RawMessage `json:"args"`
	Pending  json.RawMessage `json:"pending"`  // the metadata of the pending job
	Metadata json.RawMessage `json:"metadata"` // of the job that has become available
	Text     string          `json:"text"`     // that of the error of Result, or of the generation
}

// times are the values that differ from run to run.
var times = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z|"(?:polls|failures)": \d+|after \d+ polls?|req-\d+`)

func normal(b []byte) string {
	return times.ReplaceAllStringFunc(string(b), func(s string) string {
		switch {
		case strings.HasPrefix(s, "2"):
			return "2026-01-02T03:04:05.678901Z"
		case strings.HasPrefix(s, `"`):
			return strings.TrimRight(s, "0123456789") + "7"
		case strings.HasPrefix(s, "r"):
			return "req-000007"
		}
		return "after 7 polls"
	})
}

func outcomeText(job *rivertype.JobRow) string {
	gen, err := riverwait.Result(&river.Job[finishArgs]{JobRow: job})
	if err != nil {
		text := "error: " + err.Error()
		for name, target := range map[string]error{"deadline": context.DeadlineExceeded, "pause": poller.ErrPause, "no export": poller.ErrNoExport} {
			if errors.Is(err, target) {
				text += "; is " + name
			}
		}
		return text
	}
	return fmt.Sprintf("%s %s %s", gen.GenerationID, gen.Status, gen.GammaURL+gen.ExportURL)
}

// TestRows compares the rows that this version writes with those of the first version, and
// reads those.
func TestRows(t *testing.T) {
	t.Parallel()
	const file = "testdata/rows.json"
	w := newWorld(t)
	w.work(func(context.Context, *river.Job[finishArgs]) error { return nil })
	limited := func(watcher *riverwait.Watcher) { watcher.Timeout = 5 * time.Second }
	names := []string{"completed", "exported", "failed", "lost", "deadline", "pause"}
	withExport := map[string]bool{"exported": true}
	add := func(prefix string) {
		w.fake.Add(prefix+"completed", gammatest.Completed(""))
		w.fake.Add(prefix+"exported", gammatest.Completed("https://export.example/deck.pdf"))
		w.fake.Add(prefix+"failed", gammatest.Failed(422, "Failed to generate text."))
		w.fake.Add(prefix+"lost", gammatest.Status(404))
		w.fake.Add(prefix+"deadline", gammatest.Status(503))
		w.fake.Add(prefix+"pause", gammatest.Header("Retry-After", "3600", gammatest.Status(503)))
	}
	add("")
	var rows []row
	var jobs []int64
	for i, name := range names {
		err := pgx.BeginFunc(context.Background(), w.pool, func(tx pgx.Tx) error {
			inserted, err := riverwait.InsertTx(context.Background(), w.river, tx, poller.Progress{ID: name, Export: withExport[name]}, finishArgs{Deck: i}, nil)
			if err != nil {
				return err
			}
			jobs = append(jobs, inserted.Job.ID)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		job := w.job(jobs[i])
		rows = append(rows, row{Name: name, Kind: job.Kind, Args: job.EncodedArgs, Pending: []byte(normal(job.Metadata))})
	}
	w.watch(limited)
	for i, id := range jobs {
		w.eventually(names[i]+" is completed", func() bool { return w.job(id).State == rivertype.JobStateCompleted })
		job := w.job(id)
		rows[i].Metadata, rows[i].Text = []byte(normal(job.Metadata)), normal([]byte(outcomeText(job)))
	}
	got, err := json.MarshalIndent(rows, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(got)+"\n" {
		t.Errorf("this version writes other rows than %s has; -update changes that:\n%s", file, got)
	}

	// This version reads the rows of the first one.
	var kept []row
	if err := json.Unmarshal(want, &kept); err != nil {
		t.Fatal(err)
	}
	w.exec("DELETE FROM river_job")
	for _, row := range kept {
		job := &rivertype.JobRow{Metadata: row.Metadata, EncodedArgs: row.Args}
		if text := outcomeText(job); text != row.Text {
			t.Errorf("%s: the result is %q, want %q", row.Name, text, row.Text)
		}
		w.exec("INSERT INTO river_job (args, kind, metadata, max_attempts, state) VALUES ($1, $2, $3, 25, 'pending')", row.Args, row.Kind, row.Pending)
	}
	add("")
	for _, row := range kept {
		w.eventually(row.Name+" is completed", func() bool {
			return value[string](w, "SELECT state::text FROM river_job WHERE args ->> 'gammaGeneration' = $1", row.Name) == "completed"
		})
		job := w.job(value[int64](w, "SELECT id FROM river_job WHERE args ->> 'gammaGeneration' = $1", row.Name))
		if text := normal([]byte(outcomeText(job))); text != row.Text {
			t.Errorf("%s: the result of the pending job is %q, want %q", row.Name, text, row.Text)
		}
	}
}
