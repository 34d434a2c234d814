// Package durable tests package riverwait with worker processes that are killed and a
// PostgreSQL that is restarted. Apart from its folders it has only tests.
package durable
