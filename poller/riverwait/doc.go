// Package riverwait starts jobs of River (github.com/riverqueue/river, on PostgreSQL) when
// their generation has finished. A wait survives the end of the process and of the machine.
//
//	// In the transaction that records the id of a generation. In a worker, riverClient
//	// is river.ClientFromContext[pgx.Tx](ctx).
//	_, err := riverwait.InsertTx(ctx, riverClient, tx, poller.Progress{ID: id}, FinishArgs{Deck: 7}, nil)
//
//	// In every worker process, beside riverClient.Start, until ctx is done:
//	watcher := &riverwait.Watcher{River: riverClient, Pool: pool, Client: client}
//	err := watcher.Run(ctx)
//
//	// The worker, which runs when the generation has finished:
//	func (w *FinishWorker) Work(ctx context.Context, job *river.Job[FinishArgs]) error {
//		gen, problem := riverwait.Result(job)
//		if errors.Is(problem, riverwait.ErrNoResult) {
//			return river.JobCancel(problem) // the job was retried by hand; after a cancel it can be inserted again
//		}
//		return pgx.BeginFunc(ctx, w.Pool, func(tx pgx.Tx) error {
//			if err := save(ctx, tx, job.Args.Deck, gen, problem); err != nil {
//				return err
//			}
//			return riverwait.CompleteTx(ctx, tx, job) // so that save takes effect once
//		})
//	}
//
// [InsertTx] inserts a job of the caller, of any kind, in River's state pending, in which no
// worker takes it. A [Watcher] waits for the generations of all such jobs. The first poll
// comes four intervals after InsertTx, by default 20 seconds. When a generation has finished,
// the watcher makes its job available, with the response as the job's output. From then on it
// is a job like any other: retries, timeouts, River's UI and retention apply. While a
// generation is waited for, no job runs, and polls do not write to the database.
//
// # One watcher
//
// An API key has one rate limit, so only one process polls for it. Run a Watcher in every
// worker process. The watcher that holds a session lock of PostgreSQL polls; the others
// stand by, and one takes over within two seconds of its end, or about ten seconds if its
// machine vanished. Each watcher has one separate connection, also while it stands by. If a
// watcher dies, some polls are repeated; nothing else is lost. Two watchers that poll at the
// same time for a moment cost additional polls: a job that is no longer pending is not
// changed.
//
// A pooler, such as PgBouncer, would give the lock and the settings of a watcher to other
// clients. Give the [Watcher] a Pool that connects to PostgreSQL directly. River's own client
// may use the pooler.
//
// A program with several API keys needs separate River queues for each key, and a Watcher
// for them: see Queues. A watcher with the wrong key ends the waits with 404, since Gamma
// finds no generation of another key.
//
// # How a wait ends
//
// A wait ends when
//
//   - the generation completed or failed,
//   - Gamma did not find it, twice in a row,
//   - it has no export three minutes after the watcher found it completed, although one was
//     requested,
//   - the Timeout of the Watcher has passed since InsertTx, by the clock of the database,
//     also across restarts; the generation is then polled once more.
//
// Everything else, such as an outage, status 401 or a spent daily limit, is retried with the
// longest pauses of the [poller.Poller], logged once a minute, and shown in
// [Watcher.Status].
//
// A pending job may be canceled. It is then not changed, and polled for up to one more
// minute. A job that is deleted is polled until its generation ends. Retrying a pending job
// by hand, as in River's UI, runs it without a result: [Result] returns [ErrNoResult].
//
// # The worker
//
// The result of a job never changes, so if a worker returns its error, River runs the job 25
// times in vain. Save the error instead, or return [river.JobCancel] of it. After
// ErrNoResult, cancel the job, so that InsertTx can insert another for the generation. Do
// not call [river.RecordOutput]: it replaces the response, and later attempts get
// ErrNoResult. River ends a worker after a minute: a worker that downloads an export needs a
// longer Timeout.
//
// River runs a job at least once. It gives a job to another worker if it has run for longer
// than RescueStuckJobsAfter, an hour by default, and than the worker's Timeout, even if the
// first worker is still running. It does not do so for a worker without a timeout (-1). What
// a worker writes in a transaction takes effect once if [CompleteTx] is in it.
//
// The program in examples/river of this repository creates generations in jobs without
// paying twice.
//
// # In the database
//
// Tables and migrations are River's own. The metadata of a job has the generation's id in
// "gamma", and its args have the id in "gammaGeneration", which River's unique index uses.
// Its scheduled_at is the start of the wait. The response, with the link to the export, is
// only in the job's output. The API key is not in the database. Jobs of earlier versions of
// this package are supported.
package riverwait
