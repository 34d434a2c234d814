// Package riverwait starts jobs of River (github.com/riverqueue/river, on PostgreSQL) when
// their generation has finished. Such a wait outlives the process and the machine.
//
//	// In the transaction that records the id of a generation. In a worker, riverClient
//	// is river.ClientFromContext[pgx.Tx](ctx).
//	_, err := riverwait.InsertTx(ctx, riverClient, tx, poller.Progress{ID: id}, FinishArgs{Deck: 7}, nil)
//
//	// In every worker process, beside riverClient.Start, until ctx ends:
//	watcher := &riverwait.Watcher{River: riverClient, Pool: pool, Client: client}
//	err := watcher.Run(ctx)
//
//	// The worker, which runs when the generation has finished:
//	func (w *FinishWorker) Work(ctx context.Context, job *river.Job[FinishArgs]) error {
//		gen, problem := riverwait.Result(job)
//		if errors.Is(problem, riverwait.ErrNoResult) {
//			return river.JobCancel(problem) // it was retried by hand; a canceled one can be inserted again
//		}
//		return pgx.BeginFunc(ctx, w.Pool, func(tx pgx.Tx) error {
//			if err := save(ctx, tx, job.Args.Deck, gen, problem); err != nil {
//				return err
//			}
//			return riverwait.CompleteTx(ctx, tx, job) // save happens once
//		})
//	}
//
// [InsertTx] inserts a job of the caller, of any kind, in River's state pending, where no
// worker takes it. A [Watcher] waits for the generations of all such jobs; the first poll
// comes 20 seconds after InsertTx. When a generation has finished, its watcher makes the job
// available, with the response as its output. From then on it is a job like any other:
// retries, timeouts, River's UI and retention are River's. No job runs while its generation
// is waited for, and no poll writes to the database.
//
// # One watcher
//
// An API key has one rate limit, so one process polls for it. Run a Watcher in every
// worker process: the one that has a session lock of PostgreSQL watches, the others stand by
// and take over within two seconds of its end, or about ten if its machine vanished. Each
// takes one connection out of its Pool, also while it stands by. What a watcher that died
// had learned is polled again; nothing else is lost. Two that watch for a moment cost polls, no
// more: a job that is not pending any more is left alone.
//
// A pooler, such as PgBouncer, would give the lock and the settings of a watcher to other
// clients: give [Watcher] a Pool that connects to PostgreSQL itself. River's own client may
// use the pooler.
//
// A program with several API keys gives each key its own River queues, and a Watcher for
// them: see Queues. A watcher with the wrong key takes a generation for lost, since
// Gamma finds no generation of another key.
//
// # How a wait ends
//
// Only these end a wait: the generation completed or failed; Gamma did not find it, twice in
// a row; it has no export three minutes after its watcher found it completed, although one
// was asked for; or the Timeout of the Watcher has passed since InsertTx, by the clock of
// the database, also across restarts. After the Timeout it is polled once more. Everything
// else, such as an outage, status 401 or a spent daily limit, is retried with the longest
// pauses of the [poller.Poller], logged once a minute, and shown in [Watcher.Status].
//
// A pending job may be canceled: it is left alone, and polled for up to a minute more. One
// that is deleted is polled until its generation ends. Retrying a pending job by hand, as
// River's UI offers, runs it without a result: [Result] gives [ErrNoResult].
//
// # The worker
//
// The result of a job never changes, so returning its error runs the job 25 times for
// nothing: record the error, or return [river.JobCancel] of it. After ErrNoResult, a
// canceled job makes room for another InsertTx for the generation. Do not call
// [river.RecordOutput]: it replaces the response, and later attempts get ErrNoResult. River
// ends a worker after a minute: one that downloads an export needs a longer Timeout.
//
// River runs a job at least once. It gives a job to another worker if it has run for longer
// than RescueStuckJobsAfter, an hour by default, and than the worker's Timeout, also if the
// first worker is still at it. It never does so for a worker without a timeout (-1). What a
// worker writes in a transaction happens once if [CompleteTx] is in it.
//
// To create a generation in a job without paying twice, see the program in examples/river
// of this repository.
//
// # In the database
//
// Tables and migrations are River's own. The metadata of a job has the generation's id
// under "gamma", and its args have it under "gammaGeneration", which River's unique index
// uses. Its scheduled_at is when the wait began. The response, with the link to the export,
// is only in the job's output. The API key is nowhere. Jobs of earlier versions of this
// package are understood.
package riverwait
