// SPDX-License-Identifier: Apache-2.0

package etcdusers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Root is the common name of whoever may do everything, which etcd insists on.
const Root = "root"

// User is a client of etcd.
type User struct {
	// Name is the common name of its certificate.
	Name string
	// Prefix is what all keys begin with that it may read and write.
	Prefix string
}

// Keep makes the users what they should be, and switches on that etcd asks who somebody is. It changes nothing that is
// so already: each change makes etcd refuse the requests that are under way. auth is root's. Users and roles of other
// names are left alone.
func Keep(ctx context.Context, auth clientv3.Auth, users []User) error {
	if err := keepUser(ctx, auth, Root, Root); err != nil {
		return err
	}
	for _, user := range users {
		if err := keepRole(ctx, auth, user); err != nil {
			return err
		}
		if err := keepUser(ctx, auth, user.Name, user.Name); err != nil {
			return err
		}
	}
	if _, err := auth.AuthEnable(ctx); err != nil {
		return fmt.Errorf("make etcd ask who its clients are: %w", err)
	}
	return nil
}

// keepRole makes a role of the user's name that allows its prefix and nothing else.
func keepRole(ctx context.Context, auth clientv3.Auth, user User) error {
	failed := func(err error) error { return fmt.Errorf("role %q in etcd: %w", user.Name, err) }
	var have []*authpb.Permission
	switch role, err := auth.RoleGet(ctx, user.Name); {
	case errors.Is(err, rpctypes.ErrRoleNotFound):
		if _, err := auth.RoleAdd(ctx, user.Name); err != nil {
			return failed(err)
		}
	case err != nil:
		return failed(err)
	default:
		have = role.Perm
	}
	end := clientv3.GetPrefixRangeEnd(user.Prefix)
	found := false
	for _, permission := range have {
		if string(permission.Key) == user.Prefix && string(permission.RangeEnd) == end &&
			permission.PermType == authpb.Permission_READWRITE {
			found = true
			continue
		}
		if _, err := auth.RoleRevokePermission(ctx, user.Name, string(permission.Key),
			string(permission.RangeEnd)); err != nil {
			return failed(err)
		}
	}
	if found {
		return nil
	}
	if _, err := auth.RoleGrantPermission(ctx, user.Name, user.Prefix, end,
		clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
		return failed(err)
	}
	return nil
}

// keepUser makes a user, who has no password, with one role.
func keepUser(ctx context.Context, auth clientv3.Auth, name, role string) error {
	failed := func(err error) error { return fmt.Errorf("user %q in etcd: %w", name, err) }
	var have []string
	switch user, err := auth.UserGet(ctx, name); {
	case errors.Is(err, rpctypes.ErrUserNotFound):
		if _, err := auth.UserAddWithOptions(ctx, name, "", &clientv3.UserAddOptions{NoPassword: true}); err != nil {
			return failed(err)
		}
	case err != nil:
		return failed(err)
	default:
		have = user.Roles
	}
	if !slices.Contains(have, role) {
		if _, err := auth.UserGrantRole(ctx, name, role); err != nil {
			return failed(err)
		}
	}
	for _, other := range have {
		if other == role {
			continue
		}
		if _, err := auth.UserRevokeRole(ctx, name, other); err != nil {
			return failed(err)
		}
	}
	return nil
}
