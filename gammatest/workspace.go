package gammatest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gamma-sdk/gamma-go/api"
)

// maxCards is where the fake lowers numCards, with a warning, as a plan's limit does.
const maxCards = 40

// pageSize is that of a list without a limit.
const pageSize = 20

// workspace is what the owner of the key has, except generations.
type workspace struct {
	life     life // of a generation that is created
	onCreate func(api.GenerationRequest) []Step

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

// OnCreate makes f choose the life of every generation that is created from now on. f is
// called with the request and returns the steps. If it returns none for the create, for
// polls or for downloads, the steps given to [NewClient] are used for these; if f is nil,
// for all. For a generation from a template, the InputText is the prompt, and the other
// fields are those that both requests have.
//
//	g.OnCreate(func(request api.GenerationRequest) []gammatest.Step {
//		if request.InputText == "coffee" {
//			return []gammatest.Step{gammatest.Failed(422, "Failed to generate text.")}
//		}
//		return nil
//	})
//
// f is called for one request at a time, and only for requests that create: not for one
// that is refused, is invalid or has a step of [API.Next]. f may use the API. It must not
// block.
func (s *API) OnCreate(f func(api.GenerationRequest) []Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onCreate = f
}

// Next gives steps to the next requests for an operation, such as "createGeneration", one
// after another. Then the responses are as usual again. Except with [Usual], these requests
// have no effect. For getGenerationStatus the polls of all generations count; except with
// Usual, they take no step of the generation. Steps from an earlier call for the operation
// come first.
//
// These are errors of the test: an operation that is not in the OpenAPI document; a step
// with a time, such as [PendingFor]; and a state of a generation, such as [Completed], for
// an operation other than getGenerationStatus.
func (s *API) Next(operationID string, steps ...Step) {
	s.t.Helper()
	next := s.expand(operationID, steps)
	known, ok := s.contract.sample.Operation(operationID)
	if !ok {
		s.report("gammatest: the OpenAPI document has no operation %q", operationID)
		return
	}
	operation := camelCase(known.ID)
	var valid []Step
	for _, step := range next {
		if step.state && operation != "getGenerationStatus" {
			s.report("gammatest: %s: a state of a generation is only for getGenerationStatus", operationID)
			continue
		}
		valid = append(valid, step)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next[operation] = append(s.next[operation], valid...)
}

// expand returns one step for each request, and reports steps that are not for requests.
func (s *API) expand(what string, steps []Step) []Step {
	s.t.Helper()
	var all []Step
	for _, step := range steps {
		switch {
		case step.err != nil:
			s.report("gammatest: %s: %v", what, step.err)
		case step.role != forPoll:
			s.report("gammatest: %s: ForCreate and ForDownload are only for the life of a generation", what)
		case step.span > 0:
			s.report("gammatest: %s: a step with a time is only for the life of a generation", what)
		default:
			all = append(all, slices.Repeat([]Step{step}, step.polls)...)
		}
	}
	return all
}

// SetThemes replaces the themes. The default is three. Without arguments there are none.
func (s *API) SetThemes(themes ...api.ThemeItem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.themes = themes
}

// SetFolders replaces the folders. The default is two. Without arguments there are none.
func (s *API) SetFolders(folders ...api.FolderItem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.folders = folders
}

// operate performs the operation, and returns the usual response and Usual. If it returns
// another step, that step responds, and the operation was not performed.
func (s *API) operate(c call, query url.Values, body []byte) (response, Step) {
	var l life
	step := Usual()
	creates := c.operation == "createGeneration" || c.operation == "createFromTemplateGeneration"
	if creates {
		l = s.plan(c, body)
		if len(l.create) > 0 {
			step = l.create[0]
		}
		if !step.usual {
			return response{}, step
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var rsp response
	switch {
	case creates:
		rsp = s.create(c, body, l)
	case c.operation == "getGenerationStatus":
		return status(http.StatusNotFound, c.id), step // known generations have a step
	case c.operation == "listThemes":
		rsp = list(query, s.themes, func(t api.ThemeItem) bool {
			return contains(t.Name, query.Get("query")) && (query.Get("type") == "" || query.Get("type") == string(t.Type))
		})
	case c.operation == "listFolders":
		rsp = list(query, s.folders, func(f api.FolderItem) bool { return contains(f.Name, query.Get("query")) })
	case c.operation == "archiveGamma", c.operation == "deleteGamma":
		rsp = s.retire(c)
	default:
		return s.contract.derived(c), step
	}
	if rsp.status == http.StatusOK {
		rsp.status, rsp.partial = c.document.Status, true
	}
	return rsp, step
}

// plan returns the life of the generation that c creates.
func (s *API) plan(c call, body []byte) (l life) {
	s.mu.Lock()
	usual, onCreate := s.life, s.onCreate
	s.mu.Unlock()
	if onCreate != nil {
		request := asRequest(c, body)
		s.planning.Lock()
		defer s.planning.Unlock()
		l = s.lifeOf("created generation", onCreate(request))
	}
	or := func(own *[]Step, usual []Step) {
		if len(*own) == 0 {
			*own = usual
		}
	}
	or(&l.create, usual.create)
	or(&l.polls, usual.polls)
	or(&l.polls, []Step{Pending(2), Completed("")})
	or(&l.downloads, usual.downloads)
	return l
}

// asRequest returns the body of either operation that creates, without fields of different
// types. create reports a body that is not JSON.
func asRequest(c call, body []byte) (request api.GenerationRequest) {
	if c.operation == "createFromTemplateGeneration" {
		var fields map[string]any
		_ = json.Unmarshal(body, &fields)
		if fields != nil {
			fields["inputText"] = fields["prompt"]
			body, _ = json.Marshal(fields)
		}
	}
	_ = json.Unmarshal(body, &request)
	return request
}

// create adds a generation. s.mu is held.
func (s *API) create(c call, body []byte, l life) response {
	var request struct { // what both operations have
		ExportAs string  `json:"exportAs"`
		NumCards float64 `json:"numCards"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return problem(http.StatusBadRequest, err.Error())
	}
	s.created++
	id := fmt.Sprintf("gen%06d", s.created)
	s.generations[id] = newScript(l, request.ExportAs)
	result := map[string]any{"generationId": id, "warnings": nil} // as the API does
	if request.NumCards > maxCards {
		result["warnings"] = s.contract.warning(c, fmt.Sprintf("numCards was lowered to %d.", maxCards))
	}
	return encode(http.StatusOK, result)
}

// retire archives or deletes a gamma. s.mu is held.
func (s *API) retire(c call) response {
	if generation, ok := strings.CutPrefix(c.id, "g_"); !ok || s.generations[generation] == nil || s.deleted[c.id] {
		return status(http.StatusForbidden, "") // as the API does, not 404
	}
	if c.operation == "archiveGamma" {
		return encode(http.StatusOK, map[string]any{"gammaId": c.id, "archived": true})
	}
	s.deleted[c.id] = true
	return encode(http.StatusOK, map[string]any{"gammaId": c.id, "status": "deleted", "message": "The gamma was deleted."})
}

// list returns a page. A cursor is the index of its first item.
func list[T any](query url.Values, all []T, wanted func(T) bool) response {
	items := slices.DeleteFunc(slices.Clone(all), func(item T) bool { return !wanted(item) })
	size, _ := strconv.Atoi(cmp.Or(query.Get("limit"), strconv.Itoa(pageSize))) // the contract has checked it
	first, err := strconv.Atoi(cmp.Or(query.Get("after"), "0"))
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
