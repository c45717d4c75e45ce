// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"bytes"
	"encoding/xml"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
)

// arrival is a call that came in.
type arrival struct {
	fault.Call
	this types.ManagedObjectReference // of SOAP calls
	rule *fault.Rule
	// overlaps is that it came while another call or a task was at work on the same machine.
	overlaps bool
}

// arrivals brings together what came in over HTTP and the call that the simulator makes of it, which share nothing but
// the session's cookie.
type arrivals struct {
	mu     sync.Mutex
	made   int
	open   map[string]*arrival             // by the mark in the cookie
	called map[*simulator.Context]*arrival // between the cookie and the call
}

// mark is between a session's key and the number of the arrival.
const mark = "-arrival-"

// announce marks the cookie of a request, until done is called.
func (a *arrivals) announce(r *http.Request, call *arrival) (done func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.made++
	number := strconv.Itoa(a.made)
	if a.open == nil {
		a.open, a.called = map[string]*arrival{}, map[*simulator.Context]*arrival{}
	}
	a.open[number] = call
	cookies := r.Cookies()
	r.Header.Del("Cookie")
	key := ""
	for _, cookie := range cookies {
		if cookie.Name == soap.SessionCookieName {
			key = cookie.Value
			continue
		}
		r.AddCookie(cookie)
	}
	r.AddCookie(&http.Cookie{Name: soap.SessionCookieName, Value: key + mark + number})
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.open, number)
	}
}

// pair has a registry's calls know what they arrived as: it reads the cookie of each before anything else.
func (a *arrivals) pair(registry *simulator.Registry) {
	own := registry.Cookie
	registry.Cookie = func(ctx *simulator.Context) string {
		key, number, _ := strings.Cut(simulator.HTTPCookie(ctx), mark)
		a.mu.Lock()
		if call := a.open[number]; call != nil {
			a.called[ctx] = call
		}
		a.mu.Unlock()
		if own != nil {
			return own(ctx)
		}
		return key
	}
}

// of is what a call arrived as. It is asked once.
func (a *arrivals) of(ctx *simulator.Context) *arrival {
	a.mu.Lock()
	defer a.mu.Unlock()
	call := a.called[ctx]
	delete(a.called, ctx)
	if call == nil {
		return new(arrival) // from within this process
	}
	return call
}

// arrived reads what a request calls, nil where it calls nothing.
func (v *VCenter) arrived(r *http.Request) (*arrival, error) {
	if isREST(r.URL.Path) {
		path := identifiers.ReplaceAllString(strings.TrimPrefix(r.URL.Path, "/rest"), "/id")
		return &arrival{Call: fault.Call{Method: r.Method + " " + path, Changes: changesREST(r)}}, nil
	}
	if r.Method != http.MethodPost || !strings.HasPrefix(r.URL.Path, "/sdk") &&
		!strings.HasPrefix(r.Header.Get("Content-Type"), "text/xml") {
		return nil, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	method, this := calledMethod(body)
	if method == "" {
		return nil, nil
	}
	return &arrival{Call: fault.Call{Method: method, Changes: changes(method)}, this: this}, nil
}

// serveCall notes a call and does what a rule says about its answer, its connection and its session. What a rule says
// about the call itself and about its task is done where the simulator has read the call.
func (v *VCenter) serveCall(call *arrival, next http.Handler, w http.ResponseWriter, r *http.Request) {
	v.journal.Add(call.Call)
	call.rule = v.faults.Match(call.Call, v.nameOf(call))
	if delay := late(call.rule, call.Method); delay > 0 {
		<-v.clock.NewTimer(delay).C()
	}
	session, err := r.Cookie(soap.SessionCookieName)
	if rest := isREST(r.URL.Path); !rest {
		defer v.arrivals.announce(r, call)()
	} else if call.rule != nil && refuses(call.rule.Shape, call.Method) {
		call.then()
		http.Error(w, `{"error_type":"SERVICE_UNAVAILABLE","messages":[]}`, http.StatusServiceUnavailable)
		return
	}
	if call.rule == nil || call.rule.Shape < fault.AnswerLost || call.rule.Shape > fault.SessionEnds {
		next.ServeHTTP(w, r)
		return
	}
	if call.rule.Shape == fault.NoAnswer {
		call.then()
		panic(http.ErrAbortHandler)
	}
	answer := answers(next, r)
	if call.rule.Shape == fault.AnswerLost {
		call.then()
		panic(http.ErrAbortHandler)
	}
	if err == nil {
		v.endSession(session.Value)
	}
	v.rest.endOne(v.service.ServeMux, r.Header.Get(restSessionHeader))
	call.then()
	pass(w, answer, answer.Body.Bytes())
}

// then tells the test that a rule has fired.
func (a *arrival) then() {
	if a.rule.Then != nil {
		a.rule.Then()
	}
}

// nameOf is the name of the entity that a call is made of, as far as that matters.
func (v *VCenter) nameOf(call *arrival) (name string) {
	if !v.faults.NamesObjects(call.Call) {
		return ""
	}
	ctx := v.inProcess()
	if entity, ok := ctx.Map.Get(call.this).(mo.Entity); ok {
		ctx.WithLock(entity, func() { name = entity.Entity().Name })
	}
	return name
}

func isREST(path string) bool {
	return strings.HasPrefix(path, "/rest/") || path == "/api" || strings.HasPrefix(path, "/api/")
}

// changesREST says whether a REST call changes what others see. Some that only look are POSTs.
func changesREST(r *http.Request) bool {
	action := r.URL.Query().Get("~action") + r.URL.Query().Get("action")
	switch {
	case r.Method == http.MethodGet, strings.HasSuffix(r.URL.Path, "/session"),
		strings.Contains(r.URL.Path, "/download-session"):
		return false
	}
	return action != "find" && action != "get" && action != "list" && action != "filter" &&
		!strings.HasPrefix(action, "list-")
}

// calledMethod is the name of the method that a SOAP request calls and the object that it is called of, "" for what is
// not one.
func calledMethod(request []byte) (method string, this types.ManagedObjectReference) {
	decoder := xml.NewDecoder(bytes.NewReader(request))
	body := false
	for {
		token, err := decoder.RawToken()
		if err != nil {
			return method, this
		}
		start, ok := token.(xml.StartElement)
		switch {
		case ok && method != "":
			for _, attribute := range start.Attr {
				if attribute.Name.Local == "type" {
					this.Type = attribute.Value
				}
			}
			if text, err := decoder.RawToken(); err == nil {
				value, _ := text.(xml.CharData)
				this.Value = string(value)
			}
			return method, this
		case ok && body:
			method = start.Name.Local
		case ok && start.Name.Local == "Body":
			body = true
		}
	}
}
