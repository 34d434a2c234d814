package batch

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

const maxKey = 1024

// job is an input and its state.
type job struct {
	key      string
	text     *api.GenerationRequest // one of the two is nil
	template *api.TemplateGenerationRequest
	hash     string // of the request
	file     string // of the export, relative to the directory, with slashes; empty: none
	owned    bool   // file was saved for this input last, if there is one
	action   Action
	err      error

	id       string
	replaced string // the id of the generation that this create replaces
	warnings string
	since    time.Time // of the last line in the journal
	nextPoll time.Time
	gen      *api.GenerationStatusResponse
}

// path is where the export is saved.
func (j *job) path(dir string) string {
	if j.file == "" {
		return ""
	}
	return filepath.Join(dir, filepath.FromSlash(j.file))
}

// keeper decides what to do for each input. It is not safe for concurrent use.
type keeper struct {
	journal *journal
	dir     string
	retry   Retry
	keys    map[string]bool
	files   map[string]string // keys by file in lower case: file systems may ignore case
}

func (b *Batch) keeper(j *journal) *keeper {
	return &keeper{journal: j, dir: b.Dir, retry: b.Retry, keys: map[string]bool{}, files: map[string]string{}}
}

// decide returns the job for in.
func (k *keeper) decide(in Input) *job {
	j := &job{key: in.Key, action: Refuse}
	if j.err = k.check(j, in); j.err != nil {
		return j
	}
	entry := k.journal.entries[j.key]
	j.owned = entry != nil && entry.file == j.file && k.journal.owners[j.file] == j.key
	known := entry != nil && entry.request == j.hash
	if known {
		j.id, j.warnings, j.since, j.nextPoll, j.gen = entry.id, entry.warnings, entry.time, entry.nextPoll, entry.generation
	}
	switch {
	case !known:
		j.action = Create
	case entry.state == sent || entry.state == uncertain:
		j.action, j.err = Leave, &becauseError{"the outcome of a create at " + entry.time.Local().Format(time.DateTime) +
			" is unknown: look for it at Gamma, and create it again only if it is not there", gamma.ErrMaybeCreated}
		if k.retry&Uncertain != 0 {
			j.action = Create
		}
	case entry.state == failed:
		j.action, j.err = Leave, failure(entry)
		if k.retry&Failed != 0 {
			j.action = Create
		}
	case entry.state == lost && k.retry&Failed != 0:
		j.action = Create
	case entry.state == saved && j.owned && exists(j.path(k.dir)), entry.state == completed && j.file == "":
		j.action = Skip
	default:
		j.action = Wait
	}
	if j.action == Create {
		*j = job{key: j.key, text: j.text, template: j.template, hash: j.hash, file: j.file, owned: j.owned, action: Create}
		if entry != nil {
			j.replaced = entry.id
		}
	}
	if j.action == Leave {
		return j
	}
	if err := j.inTheWay(k.dir); err != nil {
		j.action, j.err = Refuse, err
	}
	return j
}

// inTheWay returns an error if the export cannot be saved, or would replace a file of
// another origin.
func (j *job) inTheWay(dir string) error {
	path := j.path(dir)
	if path == "" || j.owned {
		return nil
	}
	switch _, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil: // such as a name that is too long
		return &becauseError{"the export cannot be saved", err}
	}
	return fmt.Errorf("gamma: batch: %s exists and is not the export of this input in the journal: move it away", gamma.Printable(path))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// failure is the error of a generation that failed in an earlier run.
func failure(e *entry) error {
	err := &poller.FailedError{Progress: poller.Progress{ID: e.id}, Generation: e.generation}
	if err.Generation == nil {
		err.Generation = &api.GenerationStatusResponse{GenerationID: e.id}
	}
	err.Status = err.Generation.Status
	err.Message, err.StatusCode = e.message, e.statusCode
	return err
}

// check sets the fields of j from in, and returns an error if in is invalid.
func (k *keeper) check(j *job, in Input) error {
	switch {
	case in.Key == "" || len(in.Key) > maxKey || !utf8.ValidString(in.Key):
		return fmt.Errorf("gamma: batch: the key %q must be 1 to %d bytes of UTF-8", gamma.Printable(in.Key), maxKey)
	case k.keys[in.Key]:
		return errors.New("gamma: batch: another input has the same key")
	}
	k.keys[in.Key] = true
	var export string
	var err error
	switch request := in.Request.(type) {
	case api.GenerationRequest:
		j.text, err = copyOf(&request)
	case *api.GenerationRequest:
		j.text, err = copyOf(request)
	case api.TemplateGenerationRequest:
		j.template, err = copyOf(&request)
	case *api.TemplateGenerationRequest:
		j.template, err = copyOf(request)
	}
	switch {
	case err != nil:
		return fmt.Errorf("gamma: batch: %w", err)
	case j.text != nil:
		export = string(j.text.ExportAs)
	case j.template != nil:
		export = string(j.template.ExportAs)
	default:
		return fmt.Errorf("gamma: batch: the request is a %T or nil, not an api.GenerationRequest or api.TemplateGenerationRequest", in.Request)
	}
	if err := gamma.Validate(j.request()); err != nil {
		return err
	}
	if j.hash, err = hash(j.request()); err != nil {
		return err
	}
	if export == "" {
		return nil
	}
	if j.file, err = fileOf(in, export); err != nil {
		return err
	}
	folded := strings.ToLower(j.file)
	if other, taken := k.files[folded]; taken {
		return fmt.Errorf("gamma: batch: the export would replace that of %s: %s", gamma.Printable(other), gamma.Printable(j.file))
	}
	k.files[folded] = j.key
	return nil
}

// copyOf returns a deep copy of request, which the caller may change for the next input. It
// returns nil for nil.
func copyOf[T any](request *T) (*T, error) {
	if request == nil {
		return nil, nil
	}
	data, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	c := new(T)
	return c, json.Unmarshal(data, c)
}

func (j *job) request() any {
	if j.template != nil {
		return j.template
	}
	return j.text
}

// hash returns a hash of request as JSON, in which the order of fields does not matter.
func hash(request any) (string, error) {
	data, err := json.Marshal(request)
	if err != nil {
		return "", fmt.Errorf("gamma: batch: %w", err)
	}
	var fields map[string]any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err = decoder.Decode(&fields); err == nil {
		data, err = json.Marshal(fields) // sorts them
	}
	if err != nil {
		return "", fmt.Errorf("gamma: batch: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16]), nil
}

// fileOf returns the path of the export of in, relative to the directory, with slashes.
func fileOf(in Input, export string) (string, error) {
	extension := export
	switch {
	case export == "png":
		extension = "zip" // an image for each card
	case strings.ContainsFunc(export, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }):
		extension = "export"
	}
	name := in.File
	if name == "" {
		name = nameOf(in.Key)
	}
	file := path.Clean(name + "." + extension)
	if !filepath.IsLocal(filepath.FromSlash(file)) || strings.HasSuffix(name, "/") || strings.ContainsRune(name, 0) || !utf8.ValidString(name) {
		return "", fmt.Errorf("gamma: batch: the file %s is not in the directory", gamma.Printable(in.File))
	}
	return file, nil
}

// nameOf returns key as the name of a file, without characters that are invalid on Windows.
// A name that differs from its key ends in a part of the key's hash, so that no two keys
// have the same name.
func nameOf(key string) string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || strings.ContainsRune(`<>:"/\|?*`, r) || !unicode.IsPrint(r) {
			return '-'
		}
		return r
	}, key)
	name = strings.Trim(name, " .-")
	for len(name) > 150 {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	if !filepath.IsLocal(name) { // empty, or a device of Windows, whatever follows its name
		name = strings.TrimRight("file-"+name, "-")
	}
	if name == key {
		return name
	}
	sum := sha256.Sum256([]byte(key))
	return name + "-" + hex.EncodeToString(sum[:4])
}
