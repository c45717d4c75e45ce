// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/login/guard"
)

const (
	// rememberedAccounts bounds the names whose accounts are remembered.
	rememberedAccounts = 50_000
	// lookedUpFor is how long what a name means is not asked again. That it means
	// nobody may change sooner.
	lookedUpFor = 10 * time.Minute
	nobodyFor   = time.Minute
	// provedFor is how long it is remembered of a name that has logged in.
	provedFor = 30 * 24 * time.Hour
)

// user returns whose attempt one under a name is: the account that vCenter would count
// it for. For a name that means nobody it is that name. Where nobody can tell, it is
// everybody who is called so, in whatever domain.
//
// vCenter is asked with this server's own account. An address that has used up its
// attempts cannot make it ask.
func (s *Service) user(ctx context.Context, name username, address netip.Addr) (guard.User, error) {
	if s.Accounts == nil {
		return guard.User{Name: name.key}, nil
	}
	if known, found := s.accounts.Get(name.key); found {
		return known.(guard.User), nil
	}
	if err := s.guard.Address(address); err != nil {
		return guard.User{}, err
	}
	// Whoever hangs up has made an attempt all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), orDefault(s.Timeout, 20*time.Second))
	defer cancel()
	release, err := s.slot(ctx)
	if err != nil {
		return guard.User{}, err
	}
	defer release()
	user, lasts := guard.User{Name: name.key}, nobodyFor
	account, err := s.Accounts.Account(ctx, name.asked)
	switch {
	case err == nil:
		user, lasts = guard.User{Name: fold(account)}, lookedUpFor
	case errors.Is(err, failure.NotFound):
	case errors.Is(err, failure.Unavailable), errors.Is(err, failure.Timeout), errors.Is(err, context.DeadlineExceeded):
		return guard.User{}, err
	default:
		s.Logger.Info("It cannot be told which account a user name means, so that few attempts are allowed",
			"user", name.asked, "reason", err.Error())
		user = guard.User{Name: fold(name.user), Unsure: true}
	}
	s.accounts.Add(name.key, user, lasts)
	return user, nil
}

// know remembers which account a name has turned out to mean. Where nobody can tell it
// of other names, it does not help to know it of one.
func (s *Service) know(name username, identity Identity, counted guard.User) {
	if s.Accounts != nil && !counted.Unsure {
		s.accounts.Add(name.key, guard.User{Name: fold(identity.Name())}, provedFor)
	}
}
