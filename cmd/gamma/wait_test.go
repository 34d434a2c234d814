package main

import (
	"slices"
	"strings"
	"testing"
)

func TestReadJobs(t *testing.T) {
	long := strings.Repeat("x", 257)
	for _, tt := range []struct {
		name  string
		in    string
		want  []job
		codes []int
		err   string
	}{
		{"ids", "gen1\ngen2\n", []job{{"gen1", ""}, {"gen2", ""}}, nil, ""},
		{"no line feed at the end, Windows line ends, empty lines", "\r\n gen1 \r\n\n\ngen2", []job{{"gen1", ""}, {"gen2", ""}}, nil, ""},
		{"lines of create", "gen1\t-\t-\ta.md\n", []job{{"gen1", ""}}, nil, ""},
		{"JSON lines", `{"generationId":"gen1","input":"a.md","more":[1]}` + "\n", []job{{"gen1", "a.md"}}, nil, ""},
		{"an id twice", "gen1\ngen2\ngen1\n", []job{{"gen1", ""}, {"gen2", ""}}, nil, ""},
		{"errors of create", `{"input":"b.md","error":{"code":"no_credits","message":"no"}}` + "\n" + `{"error":{"code":"maybe_created"}}` + "\n" + `{"error":{"code":"brand_new"}}` + "\n",
			nil, []int{4, 6, 1}, ""},
		{"an error with an id", `{"generationId":"gen1","error":{"code":"not_finished"}}`, []job{{"gen1", ""}}, nil, ""},
		{"a byte order mark", "\ufeffgen1\r\n", []job{{"gen1", ""}}, nil, ""},
		{"empty lines only", "\n \r\n", nil, nil, "gamma: standard input has no id"},
		{"empty input", "", nil, nil, "gamma: standard input has no id"},
		{"a wrong id", "gen1\nge/n2\n", nil, nil, "gamma: standard input, line 2: id has a character other than A-Z a-z 0-9 - . _ ~ at position 2"},
		{"a long id", long, nil, nil, "gamma: standard input, line 1: id has 257 characters, more than 256"},
		{"a wrong id in JSON", `{"generationId":"../x"}`, nil, nil, "gamma: standard input, line 1: id has a character other than A-Z a-z 0-9 - . _ ~ at position 2"},
		{"truncated JSON", `{"generationId":"gen1"`, nil, nil, "gamma: standard input, line 1: not a JSON object of a generation"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, _, _ := newTestApp(nil)
			a.in = strings.NewReader(tt.in)
			w := wait{app: a}
			got, err := w.jobs([]string{"-"})
			text := ""
			if err != nil {
				text = err.Error()
			}
			if !slices.Equal(got, tt.want) || !slices.Equal(w.codes, tt.codes) || text != tt.err {
				t.Errorf("%v %v %s, want %v %v %s", got, w.codes, text, tt.want, tt.codes, tt.err)
			}
		})
	}
}

func TestExtension(t *testing.T) {
	for link, want := range map[string]string{
		"https://assets.example/export/pdf/a/b/Tea.pdf":     ".pdf",
		"https://assets.example/export/Tea.PPTX?x=1.exe#.y": ".pptx",
		"https://assets.example/export/Tea.zip":             ".zip",
		"https://assets.example/export/Tea":                 "",
		"https://assets.example/a.b/Tea":                    "",
		"https://assets.example/Tea.%2e%2e%2fx":             "",
		"https://assets.example/Tea.a-very-long-one":        "",
		"%": "",
	} {
		if got := extension(link); got != want {
			t.Errorf("%s: %q, want %q", link, got, want)
		}
	}
}
