package server

import (
	_ "embed" // for the description
	"encoding/json"
	"net/http"
	"sync"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var openAPI []byte

// openAPIJSON returns the description of all endpoints in JSON. A test checks that it is valid.
var openAPIJSON = sync.OnceValue(func() []byte {
	var description any
	_ = yaml.Unmarshal(openAPI, &description)
	content, _ := json.MarshalIndent(description, "", "  ")
	return append(content, '\n')
})

// getOpenAPI answers with the OpenAPI description of all endpoints.
func getOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPIJSON()) // an error means that the client is gone
}
