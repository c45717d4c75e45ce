// SPDX-License-Identifier: Apache-2.0

package waittest

import (
	"bytes"
	"sync"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
)

// Output is what something writes, readable while it does. The zero value is empty.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String returns what was written since the last Reset.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Reset forgets what was written.
func (o *Output) Reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Reset()
}

// Logger writes here whatever is logged to it, at any verbosity.
func (o *Output) Logger() klog.Logger {
	return textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(o), textlogger.Verbosity(10)))
}
