// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// Config says which vCenter to use, how to recognise it and who we are.
type Config struct {
	// URL of vCenter, with or without the path /sdk. It must not carry a user
	// or password: those come from CredentialsFile.
	URL *url.URL
	// CredentialsFile is YAML with the keys username and password. It is read
	// before every login and every few seconds: changed content leads to a
	// login with it, at once.
	CredentialsFile string
	// CAFile holds the PEM certificates that may sign vCenter's. Empty: the
	// system's. It is read before every login.
	CAFile string
	// Thumbprint is the SHA-256 of vCenter's own certificate in hexadecimal,
	// with or without colons. When set, that certificate and no other is
	// accepted, whoever signed it.
	Thumbprint string
	// Insecure accepts any certificate, and plain HTTP. Nothing else implies it.
	Insecure bool
	// KeepAlive is how often the login is checked. Zero: 30 s.
	KeepAlive time.Duration
	// CallTimeout bounds each call but WaitForUpdatesEx, which its caller
	// bounds. Zero: 30 s.
	CallTimeout time.Duration
	// TaskTimeout bounds a RunTask whose context has no deadline. Zero: 1 h.
	TaskTimeout time.Duration

	Logger  klog.Logger
	Clock   clock.WithTicker // Nil: the real one.
	Metrics *Metrics         // Nil: not measured.
}

// complete returns config with its defaults, or all that is wrong with it.
func (config Config) complete() (Config, error) {
	var problems []error
	switch {
	case config.URL == nil || config.URL.Host == "":
		problems = append(problems, errors.New("the URL of vCenter is missing: give one like https://vcenter.example.com"))
	case config.URL.User != nil:
		// The URL is not quoted here: it holds what must not be shown.
		problems = append(problems, errors.New("the URL of vCenter holds a user name or password: put them into the "+
			"credentials file"))
	case config.URL.Scheme != "https" && !(config.URL.Scheme == "http" && config.Insecure):
		problems = append(problems, fmt.Errorf("the URL of vCenter, %s, must begin with https://", config.URL))
	}
	if config.CredentialsFile == "" {
		problems = append(problems, errors.New("the file with vCenter's credentials is missing"))
	}
	if config.Thumbprint != "" {
		if _, err := parseThumbprint(config.Thumbprint); err != nil {
			problems = append(problems, err)
		}
	}
	if set := count(config.CAFile != "", config.Thumbprint != "", config.Insecure); set > 1 {
		problems = append(problems, errors.New("only one of a CA file, a thumbprint and insecure can say how vCenter's "+
			"certificate is verified"))
	}
	if err := errors.Join(problems...); err != nil {
		return config, err
	}

	endpoint := *config.URL
	if endpoint.Path == "" || endpoint.Path == "/" {
		endpoint.Path = "/sdk"
	}
	config.URL = &endpoint
	if config.KeepAlive <= 0 {
		config.KeepAlive = 30 * time.Second
	}
	if config.CallTimeout <= 0 {
		config.CallTimeout = 30 * time.Second
	}
	if config.TaskTimeout <= 0 {
		config.TaskTimeout = time.Hour
	}
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	return config, nil
}

func count(conditions ...bool) int {
	n := 0
	for _, condition := range conditions {
		if condition {
			n++
		}
	}
	return n
}
