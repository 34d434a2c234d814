package conformance

import (
	"context"
	"fmt"
	"reflect"
	"testing"

	"github.com/gamma-sdk/gamma-go/api"
)

// Requests with every field, as TestRequestsAreFull makes sure.
var (
	yes, no = true, false

	element = &api.HeaderFooterElement{
		Type:   api.HeaderFooterElementTypeImage,
		Source: api.HeaderFooterElementSourceCustom,
		Src:    "https://example.com/logo.png?size=small&dark=1",
		Size:   api.HeaderFooterElementSizeSm,
		Value:  "Tea & biscuits, 茶",
	}
	sharing = &api.SharingOptions{
		WorkspaceAccess: api.SharingOptionsWorkspaceAccessFullAccess,
		ExternalAccess:  api.SharingOptionsExternalAccessNoAccess,
		EmailOptions:    &api.EmailOptions{Access: api.EmailOptionsAccessComment, Recipients: []string{"a@example.com", "b+tea@example.com"}},
	}
	generation = api.Generation{
		InputText:              "A short history of tea\n\"black\" & <green> 🍵",
		TextMode:               api.GenerationTextModeGenerate,
		Title:                  "Tea",
		Format:                 api.GenerationFormatPresentation,
		NumCards:               12,
		CardSplit:              api.GenerationCardSplitAuto,
		AdditionalInstructions: "Be brief.",
		ExportAs:               api.GenerationExportAsPdf,
		ThemeID:                "theme",
		FolderIDs:              []string{"folder1", "folder2"},
		TextOptions: &api.TextOptions{
			Amount:   api.TextOptionsAmountBrief,
			Language: api.TextOptionsLanguageEnGb,
			Tone:     "calm",
			Audience: "all",
		},
		ImageOptions: &api.ImageOptions{
			Model:  api.ImageModelFlux1Pro,
			Source: api.ImageOptionsSourceAiGenerated,
			Style:  "ink",
		},
		CardOptions: &api.CardOptions{
			Dimensions: api.CardOptionsDimensionsN16X9,
			HeaderFooter: &api.HeaderFooter{
				TopLeft: element, TopCenter: element, TopRight: element,
				BottomLeft: element, BottomCenter: element, BottomRight: element,
				HideFromFirstCard: &yes,
				HideFromLastCard:  &no,
			},
		},
		SharingOptions: sharing,
	}
	fromTemplate = api.FromTemplateGeneration{
		GammaID:        "template",
		Prompt:         "A short history of tea",
		ExportAs:       api.FromTemplateGenerationExportAsPptx,
		ThemeID:        "theme",
		FolderIDs:      []string{"folder"},
		ImageOptions:   &api.FromTemplateImageOptions{Model: api.ImageModelFlux1Pro, Style: "ink"},
		SharingOptions: sharing,
	}
	themesParams  = api.ListThemesParams{Query: "green & black", Limit: 50, After: "a/b+c=", Type: api.ListThemesParamsTypeCustom}
	foldersParams = api.ListFoldersParams{Query: "50 % ü", Limit: 1, After: "a/b+c="}
)

var requests = []struct {
	operationID, name string
	send              func(context.Context, *api.ClientWithResponses) (answer, error)
}{
	{"createGeneration", "minimal", func(ctx context.Context, c *api.ClientWithResponses) (answer, error) {
		return c.CreateGenerationWithResponse(ctx, api.Generation{InputText: "Tea"})
	}},
	{"createGeneration", "full", func(ctx context.Context, c *api.ClientWithResponses) (answer, error) {
		return c.CreateGenerationWithResponse(ctx, generation)
	}},
	{"createFromTemplateGeneration", "minimal", func(ctx context.Context, c *api.ClientWithResponses) (answer, error) {
		return c.CreateFromTemplateGenerationWithResponse(ctx, api.FromTemplateGeneration{GammaID: "template", Prompt: "Tea"})
	}},
	{"createFromTemplateGeneration", "full", func(ctx context.Context, c *api.ClientWithResponses) (answer, error) {
		return c.CreateFromTemplateGenerationWithResponse(ctx, fromTemplate)
	}},
	{"getGenerationStatus", "full", func(ctx context.Context, c *api.ClientWithResponses) (answer, error) {
		return c.GetGenerationStatusWithResponse(ctx, id)
	}},
	{"listThemes", "minimal", func(ctx context.Context, c *api.ClientWithResponses) (answer, error) {
		return c.ListThemesWithResponse(ctx, nil)
	}},
	{"listThemes", "full", func(ctx context.Context, c *api.ClientWithResponses) (answer, error) {
		return c.ListThemesWithResponse(ctx, &themesParams)
	}},
	{"listFolders", "minimal", func(ctx context.Context, c *api.ClientWithResponses) (answer, error) {
		return c.ListFoldersWithResponse(ctx, nil)
	}},
	{"listFolders", "full", func(ctx context.Context, c *api.ClientWithResponses) (answer, error) {
		return c.ListFoldersWithResponse(ctx, &foldersParams)
	}},
	{"archiveGamma", "full", func(ctx context.Context, c *api.ClientWithResponses) (answer, error) {
		return c.ArchiveGammaWithResponse(ctx, id)
	}},
	{"deleteGamma", "full", func(ctx context.Context, c *api.ClientWithResponses) (answer, error) {
		return c.DeleteGammaWithResponse(ctx, id)
	}},
}

// A field that a new document brings must come into the requests above.
func TestRequestsAreFull(t *testing.T) {
	for _, request := range []any{generation, fromTemplate, themesParams, foldersParams} {
		checkFull(t, fmt.Sprintf("%T", request), reflect.ValueOf(request))
	}
}

func checkFull(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	switch {
	case v.IsZero():
		t.Errorf("%s is not set", name)
	case v.Kind() == reflect.Pointer && v.Elem().Kind() == reflect.Struct:
		checkFull(t, name, v.Elem())
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			checkFull(t, name+"."+v.Type().Field(i).Name, v.Field(i))
		}
	}
}
