package gammatest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gamma-sdk/gamma-go/api"
)

// maxCards is where the fake lowers numCards, with a warning, as a plan's limit does.
const maxCards = 40

// pageSize is that of a list without a limit.
const pageSize = 20

// workspace is what the key's owner has beside generations.
type workspace struct {
	life    []Step            // of a generation that is created from now on
	next    map[string][]Step // by operationId in camelCase
	created int
	themes  []api.ThemeItem
	folders []api.FolderItem
	deleted map[string]bool // by gamma id
}

// themes has fields that a later document may drop.
const themes = `[
	{"id":"theme-ash","name":"Ash","type":"standard","colorKeywords":["grey","light"],"toneKeywords":["calm"]},
	{"id":"theme-oak","name":"Oak","type":"standard","colorKeywords":["brown"],"toneKeywords":["warm"]},
	{"id":"theme-house","name":"House style","type":"custom"}
]`

func newWorkspace() workspace {
	w := workspace{
		next:    make(map[string][]Step),
		folders: []api.FolderItem{{ID: "folder-sales", Name: "Sales"}, {ID: "folder-tea", Name: "Tea"}},
		deleted: make(map[string]bool),
	}
	_ = json.Unmarshal([]byte(themes), &w.themes) // a test reads them
	return w
}

// Created sets the steps of every generation that is created from now on, in place of
// those given to [NewServer] or [NewTransport]. Without steps they are Pending(2) and
// Completed(""). Where the request asked for an export, Completed("") has a link to
// one.
func (s *API) Created(life ...Step) {
	s.t.Helper()
	s.check("created generations", life)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life = life
}

// Next makes the next requests for an operation, such as "createGeneration", end as
// steps, one after the other, before the answers are as usual again. Such a request
// has no other effect. For getGenerationStatus the ids of all generations count,
// before their own steps. An operation that the document lacks is an error of the
// test, and so is [PendingFor], which is for the life of one generation.
func (s *API) Next(operationID string, steps ...Step) {
	s.t.Helper()
	s.check(operationID, steps)
	known, ok := s.contract.sample.Operation(operationID)
	if !ok {
		s.report("gammatest: the document has no operation %q", operationID)
		return
	}
	var next []Step
	for _, step := range steps {
		switch {
		case step.err != nil:
		case step.span > 0:
			s.report("gammatest: %s: PendingFor means nothing here", operationID)
		default:
			next = append(next, slices.Repeat([]Step{step}, step.polls)...)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	operation := camelCase(known.ID)
	s.next[operation] = append(s.next[operation], next...)
}

// SetThemes replaces the themes, three at first.
func (s *API) SetThemes(themes ...api.ThemeItem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.themes = themes
}

// SetFolders replaces the folders, two at first.
func (s *API) SetFolders(folders ...api.FolderItem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.folders = folders
}

// operate answers the operations that change or list what is here. The zero answer is
// for all others. s.mu is held.
func (s *API) operate(c call, r *http.Request) answer {
	switch c.operation {
	case "createGeneration", "createFromTemplateGeneration":
		var request struct { // what both have
			ExportAs string  `json:"exportAs"`
			NumCards float64 `json:"numCards"`
		}
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			return problem(http.StatusBadRequest, err.Error())
		}
		return s.create(c, request.ExportAs, request.NumCards)
	case "listThemes":
		q := r.URL.Query()
		return list(q.Get("limit"), q.Get("after"), s.themes, func(t api.ThemeItem) bool {
			return contains(t.Name, q.Get("query")) && (q.Get("type") == "" || q.Get("type") == string(t.Type))
		})
	case "listFolders":
		q := r.URL.Query()
		return list(q.Get("limit"), q.Get("after"), s.folders, func(f api.FolderItem) bool { return contains(f.Name, q.Get("query")) })
	case "archiveGamma", "deleteGamma":
		if generation, ok := strings.CutPrefix(c.id, "g_"); !ok || s.generations[generation] == nil || s.deleted[c.id] {
			return status(http.StatusForbidden, "") // as the API answers, not 404
		}
		if c.operation == "archiveGamma" {
			return encode(http.StatusOK, map[string]any{"gammaId": c.id, "archived": true})
		}
		s.deleted[c.id] = true
		return encode(http.StatusOK, map[string]any{"gammaId": c.id, "status": "deleted", "message": "The gamma was deleted."})
	}
	return answer{}
}

func (s *API) create(c call, exportAs string, numCards float64) answer {
	life := s.life
	if len(life) == 0 {
		life = []Step{Pending(2), Completed("")}
	}
	s.created++
	id := fmt.Sprintf("gen%06d", s.created)
	s.generations[id] = newScript(life, exportAs)
	result := map[string]any{"generationId": id, "warnings": nil} // as the API has been seen to say
	if numCards > maxCards {
		result["warnings"] = s.contract.warning(c, fmt.Sprintf("numCards was lowered to %d.", maxCards))
	}
	return encode(http.StatusOK, result)
}

// list answers with a page. A cursor is the index of its first item.
func list[T any](limit, after string, all []T, wanted func(T) bool) answer {
	items := slices.DeleteFunc(slices.Clone(all), func(item T) bool { return !wanted(item) })
	size, _ := strconv.Atoi(cmp.Or(limit, strconv.Itoa(pageSize))) // the contract has checked it
	first, err := strconv.Atoi(cmp.Or(after, "0"))
	if err != nil || first < 0 || first > len(items) {
		return problem(http.StatusBadRequest, "Invalid cursor.")
	}
	last := min(first+size, len(items))
	page := map[string]any{"data": append([]T{}, items[first:last]...), "hasMore": last < len(items), "nextCursor": nil}
	if last < len(items) {
		page["nextCursor"] = strconv.Itoa(last)
	}
	return encode(http.StatusOK, page)
}

func contains(name, query string) bool {
	return strings.Contains(strings.ToLower(name), strings.ToLower(query))
}
