// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func newRoleCommand(s *settings) *cobra.Command {
	command := &cobra.Command{Use: "role", Short: "Take the role of an account on a folder or a virtual machine, and " +
		"give it back (simulated vCenter only)"}
	verb := func(verb, short, done string) *cobra.Command {
		account := ""
		command := &cobra.Command{
			Use: verb + " PATH", Short: short, Args: cobra.ExactArgs(1),
			RunE: func(command *cobra.Command, args []string) error {
				ctx, cancel := context.WithTimeout(command.Context(), limit)
				defer cancel()
				if account == "" {
					_, facts, err := s.read()
					if err != nil {
						return err
					}
					if account, _, err = readCredentials(facts.CredentialsFile); err != nil {
						return err
					}
				}
				if err := s.control(ctx, "role/"+verb, url.Values{"at": {args[0]}, "account": {account}}); err != nil {
					return err
				}
				fmt.Fprintf(command.OutOrStdout(), "%s %s %s.\n", account, done, args[0])
				return nil
			},
		}
		command.Flags().StringVar(&account, "account", "", "whose role; that of the Supervisor where it is left out")
		return command
	}
	command.AddCommand(
		verb("take", "Take all access to a folder or a virtual machine away, with all that lies below", "has no access to"),
		verb("give", "Give the access back that was taken away", "has access again to"),
	)
	return command
}

func newDatastoreCommand(s *settings) *cobra.Command {
	command := &cobra.Command{Use: "datastore", Short: "Lose a datastore, and find it again (simulated vCenter only)"}
	verb := func(verb, short, done string) *cobra.Command {
		return &cobra.Command{
			Use: verb + " NAME", Short: short, Args: cobra.ExactArgs(1),
			RunE: func(command *cobra.Command, args []string) error {
				ctx, cancel := context.WithTimeout(command.Context(), limit)
				defer cancel()
				if err := s.control(ctx, "datastore/"+verb, url.Values{"name": {args[0]}}); err != nil {
					return err
				}
				fmt.Fprintf(command.OutOrStdout(), "The datastore %s %s.\n", args[0], done)
				return nil
			},
		}
	}
	command.AddCommand(
		verb("lose", "Take the storage of a datastore away: the virtual machines on it are inaccessible", "is inaccessible"),
		verb("find", "Give the storage of a datastore back", "is accessible again"),
	)
	return command
}

func newQuestionCommand(s *settings) *cobra.Command {
	command := &cobra.Command{Use: "question", Short: "Have virtual machines wait for an answer, and answer"}
	command.AddCommand(
		&cobra.Command{
			Use: "ask VM TEXT [CHOICE]...",
			Short: "Have a virtual machine wait with a question: its power changes only after the answer (simulated vCenter " +
				"only)", Args: cobra.MinimumNArgs(2),
			RunE: func(command *cobra.Command, args []string) error {
				return s.with(command, func(ctx context.Context, i *inventory, out io.Writer) error {
					m, err := i.machine(args[0])
					if err != nil {
						return err
					}
					values := url.Values{"machine": {m.object.Reference().Value}, "text": {args[1]}, "choice": args[2:]}
					if err := s.control(ctx, "question/ask", values); err != nil {
						return err
					}
					fmt.Fprintf(out, "%s waits for an answer.\n", m.path)
					return nil
				})
			},
		},
		&cobra.Command{
			Use: "answer VM [CHOICE]", Short: "Answer the question that a virtual machine waits with, by its first choice " +
				"where none is given", Args: cobra.RangeArgs(1, 2),
			RunE: func(command *cobra.Command, args []string) error {
				return s.with(command, func(ctx context.Context, i *inventory, out io.Writer) error {
					m, err := i.machine(args[0])
					if err != nil {
						return err
					}
					label, err := m.answer(ctx, args[1:])
					if err != nil {
						return fmt.Errorf("answer the question of %s: %w", m.path, err)
					}
					fmt.Fprintf(out, "%s is answered: %s.\n", m.path, label)
					return nil
				})
			},
		},
	)
	return command
}

// answer answers the machine's question with the choice of that name, or with the first one, and says which that is.
func (m machine) answer(ctx context.Context, wanted []string) (label string, err error) {
	var props mo.VirtualMachine
	if err := m.object.Properties(ctx, m.object.Reference(), []string{"runtime.question"}, &props); err != nil {
		return "", err
	}
	question := props.Runtime.Question
	if question == nil {
		return "", fmt.Errorf("it waits for none")
	}
	var labels []string
	for _, choice := range question.Choice.ChoiceInfo {
		choice, ok := choice.(*types.ElementDescription)
		if !ok {
			continue
		}
		if len(wanted) == 0 || choice.Label == wanted[0] {
			return choice.Label, m.object.Answer(ctx, question.Id, choice.Key)
		}
		labels = append(labels, choice.Label)
	}
	return "", fmt.Errorf("%q can be answered with %s", question.Text, strings.Join(labels, " or "))
}
