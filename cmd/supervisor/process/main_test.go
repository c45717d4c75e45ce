// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// roleVariable turns the test binary into the child that its value names.
const roleVariable = "PACIFIC_PROCESS_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "obedient": // ends at SIGTERM
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		fmt.Println("obedient: started")
		<-signals
		fmt.Println("obedient: stopped")
	case "stubborn": // lives through SIGTERM
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("stubborn: started")
		time.Sleep(time.Hour)
	case "failing": // ends at once
		fmt.Fprintln(os.Stderr, "failing: no such luck")
		os.Exit(3)
	case "parent": // starts an obedient child, tells its pid, and waits for its own death
		child := New(Command{Name: "child", Path: os.Args[0], Env: []string{roleVariable + "=obedient"},
			LogFile: os.Getenv("PACIFIC_PROCESS_TEST_LOG")}, DefaultTiming(),
			func(s Status) {
				if s.State == Ready {
					fmt.Println(s.PID)
				}
			})
		new(Group).Start(child)
		select {}
	}
}
