// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestTwinsAreAsLong writes twins to a server that adds to an object what kube-apiserver adds.
func TestTwinsAreAsLong(t *testing.T) {
	stored := map[string][]byte{}
	revision := 98
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		var object map[string]any
		decoder := json.NewDecoder(request.Body)
		decoder.UseNumber()
		if err := decoder.Decode(&object); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		metadata := object["metadata"].(map[string]any)
		revision++
		metadata["resourceVersion"], metadata["uid"] = fmt.Sprint(revision), "8ca830c7-4d59-409e-8011-4340bff6cc5a"
		if request.Method == http.MethodPost {
			metadata["managedFields"] = strings.Repeat("who set which field; ", 100)
		} else {
			delete(metadata, "managedFields")
		}
		encoded, err := json.Marshal(object)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		stored[metadata["name"].(string)] = encoded
		_, _ = w.Write(append(encoded, '\n'))
	}))
	defer server.Close()
	twin := &side{name: "twin", prefix: server.URL, packed: server.Client()}
	for i := range 3 {
		item := fmt.Sprintf(
			`{"metadata":{"name":"vm-%d","namespace":"team-a","uid":"b7220534-c1f9-4ed2-8e88-7c8b95f7b1ad","resourceVersion":"1892160000000000001",`+
				`"annotations":{"example.com/note":%q}},"status":{"number":1234567890123456789}}`, i, strings.Repeat("n", 200))
		if err := write(t.Context(), twin, []byte(item)); err != nil {
			t.Fatal(err)
		}
		if got := len(stored[fmt.Sprint("vm-", i)]); got != len(item) {
			t.Errorf("the twin is %d bytes long, want %d", got, len(item))
		}
		if want := `"number":1234567890123456789`; !strings.Contains(string(stored[fmt.Sprint("vm-", i)]), want) {
			t.Errorf("the twin lost a number: %s", stored[fmt.Sprint("vm-", i)])
		}
	}
	if err := write(t.Context(), twin, []byte(`{"metadata":{"name":"vm-9"}}`)); err == nil {
		t.Error("an item without a note was written")
	}
}

func TestContinueToken(t *testing.T) {
	filler := strings.Repeat(" ", 5000)
	for name, list := range map[string]string{
		"in front": `{"kind":"List","metadata":{"resourceVersion":"7","continue":"abc","remainingItemCount":9},"items":[` +
			filler + `]}`,
		"behind": `{"apiVersion":"v1","items":[` + filler +
			`],"kind":"List","metadata":{"continue":"abc","resourceVersion":"7"}}`,
	} {
		if got := continueToken([]byte(list)); got != "abc" {
			t.Errorf("%s: %q", name, got)
		}
		if got := continueToken([]byte(strings.ReplaceAll(list, `"continue":"abc"`, `"selfLink":""`))); got != "" {
			t.Errorf("%s, last page: %q", name, got)
		}
	}
}
