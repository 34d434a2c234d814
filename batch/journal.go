package batch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
)

// format is the format in the first line of a journal.
const format = "gamma batch 1"

// state is the state in a line of a journal.
type state string

const (
	sent      state = "creating"  // a create is about to be sent
	uncertain state = "uncertain" // no usable response: it may have been created
	refused   state = "refused"   // nothing was created: the entry before the create is valid again
	created   state = "created"
	waiting   state = "waiting" // the wait ended before the generation had finished
	lost      state = "lost"    // Gamma does not find the id
	failed    state = "failed"
	completed state = "completed"
	saved     state = "saved"
)

// line is one line of a journal after the first.
type line struct {
	Time       time.Time       `json:"time"`
	Key        string          `json:"key"`
	State      state           `json:"state"`
	Request    string          `json:"request,omitempty"` // its hash; for sent
	File       string          `json:"file,omitempty"`    // of the export, which may be replaced from now on; for completed
	ID         string          `json:"generationId,omitempty"`
	Warnings   string          `json:"warnings,omitempty"`
	NextPoll   time.Time       `json:"nextPoll,omitzero"` // for waiting
	Generation json.RawMessage `json:"generation,omitempty"`
	Message    string          `json:"message,omitempty"`
	StatusCode int             `json:"statusCode,omitempty"`
}

type header struct {
	Journal string `json:"journal"`
	Server  string `json:"server"`
}

// entry is the state of an input in a journal.
type entry struct {
	state      state
	time       time.Time
	request    string
	file       string
	id         string
	warnings   string
	nextPoll   time.Time
	generation *api.GenerationStatusResponse
	message    string
	statusCode int
	before     *entry // for sent: the entry that is valid again if the create is refused
}

// journal is the file of a run. Its entries are those of earlier runs.
type journal struct {
	path    string
	entries map[string]*entry
	owners  map[string]string // the key that each file was saved for last

	mu   sync.Mutex
	file *os.File
	lock *flock.Flock
	size int64 // of the whole lines
}

// openJournal opens the journal of server at path for one run. It creates a missing one.
func openJournal(path, server string) (j *journal, err error) {
	dir, base := filepath.Split(path)
	if dir != "" {
		if err := os.MkdirAll(dir, 0o777); err != nil { //nolint:gosec // the umask is the user's
			return nil, &becauseError{"cannot create the directory of the journal", err}
		}
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // otherwise every link to it would have a separate lock
		dir, base = filepath.Split(path)
	}
	lock := flock.New(filepath.Join(dir, "."+base+".lock"), flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, &becauseError{"cannot lock the journal", err}
	}
	if !locked {
		_ = lock.Close()
		return nil, fmt.Errorf("%w %s", ErrLocked, gamma.Printable(path))
	}
	defer func() {
		if err != nil {
			_ = lock.Close()
		}
	}()
	if j, err = readJournal(path, server); err != nil {
		return nil, err
	}
	j.lock = lock
	if j.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil { //nolint:gosec // the path is the caller's
		return nil, j.failed(err)
	}
	if err = j.start(server); err != nil {
		_ = j.file.Close()
		return nil, err
	}
	return j, nil
}

// start cuts off a partial last line, and writes the first line if there is none.
func (j *journal) start(server string) error {
	if err := j.file.Truncate(j.size); err != nil {
		return j.failed(err)
	}
	if j.size > 0 {
		var last [1]byte
		if _, err := j.file.ReadAt(last[:], j.size-1); err != nil {
			return j.failed(err)
		}
		if last[0] == '\n' {
			return nil
		}
		return j.write([]byte("\n"), true)
	}
	first, err := json.Marshal(header{format, server})
	if err == nil {
		err = j.write(append(first, '\n'), true)
	}
	if err != nil {
		return err
	}
	// So that the name of the file is on disk, too.
	if dir, err := os.Open(filepath.Dir(j.path)); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
	return nil
}

func (j *journal) close() {
	_ = j.file.Close()
	_ = j.lock.Close()
}

func (j *journal) failed(err error) error {
	return &becauseError{"the journal " + gamma.Printable(j.path), err}
}

// add writes l, and returns when it is on disk. A line with the state waiting is not
// synced: there may be thousands when a run ends, and losing one costs nothing.
func (j *journal) add(l line) error {
	l.Time = time.Now().UTC().Round(time.Millisecond)
	data, err := json.Marshal(l)
	if err != nil {
		return j.failed(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.write(append(data, '\n'), l.State != waiting)
}

// write adds whole lines, or nothing.
func (j *journal) write(lines []byte, sync bool) error {
	_, err := j.file.WriteAt(lines, j.size)
	if err == nil && sync {
		err = j.file.Sync()
	}
	if err != nil {
		_ = j.file.Truncate(j.size)
		return j.failed(err)
	}
	j.size += int64(len(lines))
	return nil
}

// readJournal reads the journal of server at path. A missing one is empty.
func readJournal(path, server string) (*journal, error) {
	j := &journal{path: path, entries: map[string]*entry{}, owners: map[string]string{}}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return j, nil
	case err != nil:
		return nil, j.failed(err)
	case !info.Mode().IsRegular(): // a pipe would block, a device may have no end
		return nil, j.failed(errors.New("not a regular file"))
	}
	file, err := os.Open(path) //nolint:gosec // the path is the caller's
	if err != nil {
		return nil, j.failed(err)
	}
	defer func() { _ = file.Close() }()
	if err := j.read(file, server); err != nil {
		return nil, j.failed(err)
	}
	return j, nil
}

// read reads the lines of a journal. It ignores a last line that is cut off.
func (j *journal) read(from io.Reader, server string) error {
	lines := bufio.NewReader(from)
	for n := 1; ; n++ {
		text, err := lines.ReadBytes('\n')
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return err
		}
		if len(text) == 0 {
			return nil
		}
		if last && !json.Valid(text) && (n > 1 || isStart(text)) {
			return nil
		}
		if n == 1 {
			err = readHeader(text, server)
		} else {
			err = j.apply(text)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		j.size += int64(len(text))
	}
}

// isStart reports whether text, the whole file, is the start of the first line of a journal,
// or the zero bytes that a crash can leave.
func isStart(text []byte) bool {
	text = bytes.TrimRight(text, "\x00")
	n := min(len(text), len(`{"journal":"`))
	return string(text[:n]) == `{"journal":"`[:n]
}

func readHeader(text []byte, server string) error {
	var h header
	if err := json.Unmarshal(text, &h); err != nil || h.Journal == "" {
		return errors.New("not the journal of a batch")
	}
	switch {
	case h.Journal != format:
		return fmt.Errorf("unknown format %s", gamma.Printable(h.Journal))
	case server != "" && h.Server != server:
		return fmt.Errorf("the journal belongs to another server, %s: use another directory", gamma.Printable(h.Server))
	}
	return nil
}

// apply applies one line to the entries.
func (j *journal) apply(text []byte) error {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return errors.New("not a line of a journal")
	}
	e := j.entries[l.Key]
	if l.State == sent {
		before := e
		e = &entry{request: l.Request, before: before}
		if before != nil {
			e.file = before.file // it is still that of this input
		}
		j.entries[l.Key] = e
	}
	if e == nil {
		return errors.New("the line of the create is missing")
	}
	switch l.State {
	case sent:
	case refused:
		j.entries[l.Key] = e.before // nil: nothing
		return nil
	case uncertain, created, waiting, lost, failed, completed, saved:
		e.before = nil
	default:
		return fmt.Errorf("unknown state %s", gamma.Printable(string(l.State)))
	}
	e.state, e.time, e.nextPoll = l.State, l.Time, l.NextPoll
	if l.ID != "" {
		e.id = l.ID
	}
	switch {
	case l.State == sent, l.State == uncertain:
	case e.id == "":
		return errors.New("the generation id is missing")
	}
	if l.File != "" {
		e.file = l.File
		j.owners[l.File] = l.Key
	}
	if l.Warnings != "" {
		e.warnings = l.Warnings
	}
	e.message, e.statusCode = l.Message, l.StatusCode
	if l.Generation != nil {
		e.generation = new(api.GenerationStatusResponse)
		if err := json.Unmarshal(l.Generation, e.generation); err != nil {
			return errors.New("the generation is not valid")
		}
	}
	return nil
}
