// SPDX-License-Identifier: Apache-2.0

package namespace

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
)

func (f Folder) mayHave(name string) bool { return slices.Contains(f.Names, name) }

// claim is by what a Namespace is a folder's.
type claim int

const (
	notClaimed claim = iota
	// claimed: whoever may update the Namespace says so, and the folder is called as
	// the Namespace is. Neither is enough alone: the one side gives away what may be
	// done in the Namespace, the other the machines in the folder.
	claimed
	// madeFor: Pacific made the Namespace, for this folder.
	madeFor
	// madeOpen: Pacific made the Namespace, and as yet for no folder.
	madeOpen
)

// claimOf says by what a Namespace is a folder's. The lock is held.
func (c *Controller) claimOf(namespace *corev1.Namespace, folder Folder) claim {
	record := c.made[namespace.Name]
	switch {
	case record != nil && record.Released:
		return notClaimed
	case record.made(namespace) && record.Folder == folder.ID:
		return madeFor
	case record.made(namespace) && record.Folder.IsZero() && folder.Path == namespace.Name:
		return madeOpen
	case folder.Path == namespace.Name && !folder.ID.IsZero() &&
		namespace.Annotations[vsphere.ClaimAnnotation] == folder.ID.String():
		return claimed
	}
	return notClaimed
}

// verdict is what is to become of a folder.
type verdict struct {
	// name is the one under which it is to be served; empty: none.
	name string
	// refused is the name that it is called by, where that is somebody else's.
	refused string
	// make is the name of a Namespace that is to be made for it.
	make string
	// settle: it is to be written down that the Namespace is this folder's.
	settle bool
	// attach and detach say what is to be done to the folder.
	attach, detach bool
}

// judge finds out what is to become of a folder. The lock is held.
func (c *Controller) judge(folder Folder) (verdict, error) {
	var v verdict
	var free, gone string
	granted, detached := c.granted[folder.ID], c.isDetached(folder.ID)
	for _, name := range folder.Names {
		if c.holder(name, folder.ID) {
			continue
		}
		namespace, err := c.Informer.Lister().Get(name)
		if apierrors.IsNotFound(err) {
			if free == "" {
				free = name
			}
			if record := c.made[name]; record != nil && record.Folder == folder.ID {
				gone = name
			}
			continue
		} else if err != nil {
			return verdict{}, fmt.Errorf("get Namespace %q: %w", name, err)
		}
		by := c.claimOf(namespace, folder)
		switch {
		case by == notClaimed:
			if name == folder.Path {
				v.refused = name
			}
		case namespace.DeletionTimestamp == nil:
			v.name = name
			v.settle = by == madeOpen || by == madeFor && c.made[name].unsettled(namespace)
			v.attach = detached && by == claimed && !folder.Terminating
			return v, nil
		case granted == name || granted == "":
			v.name, v.detach = name, !detached
			return v, nil
		}
	}
	switch {
	case !detached && !folder.Terminating && free == "":
		return v, fmt.Errorf("all names that the folder %s, called %q, may have are taken in Kubernetes", folder.ID,
			folder.Path)
	case !detached && !folder.Terminating:
		v.make = free
	case granted != "" && c.stays(folder): // what Pacific made in it may have to go still
		v.name = granted
	case gone != "":
		v.name = gone
	case folder.Terminating:
		v.name = free
	}
	return v, nil
}

// holder says whether another folder that is there has a name, and may have it. The
// lock is held.
func (c *Controller) holder(name string, folder facts.ID) bool {
	for other, has := range c.granted {
		if has != name || other == folder {
			continue
		}
		holder, there := c.folder(other.String())
		namespace, err := c.Informer.Lister().Get(name)
		if there && err == nil && c.claimOf(namespace, holder) != notClaimed {
			return true
		}
	}
	return false
}

// stays says whether a folder may go on under the name that it has until it gets
// another. The lock is held.
func (c *Controller) stays(folder Folder) bool {
	namespace, err := c.Informer.Lister().Get(c.granted[folder.ID])
	return apierrors.IsNotFound(err) || err == nil && c.claimOf(namespace, folder) != notClaimed
}

// grant has a folder served under a name from here on; empty is not at all.
func (c *Controller) grant(folder facts.ID, name string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.granted[folder] == name {
		return
	}
	if name == "" {
		delete(c.granted, folder)
	} else {
		c.granted[folder] = name
	}
	c.show()
	c.Logger.Info("Granted a name", "folder", folder, "namespace", name)
}

// refuse notes whether a folder is refused its own name, and tells people of it
// when that is new.
func (c *Controller) refuse(folder Folder, v verdict) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.refused[folder.ID] == v.refused {
		return
	}
	if v.refused == "" {
		delete(c.refused, folder.ID)
		c.show()
		return
	}
	c.refused[folder.ID] = v.refused
	c.show()
	message := fmt.Sprintf("The folder %s is called %q, but the Kubernetes Namespace of that name was not made for it, "+
		"so that it is served "+
		"under another. To have it served there, run: kubectl annotate namespace %s %s=%s",
		folder.ID.Value, v.refused, v.refused, vsphere.ClaimAnnotation, folder.ID)
	c.Logger.Info("Refused a folder its name: a Kubernetes Namespace has it that was not made for it", "folder", folder.ID,
		"namespace", v.refused)
	if c.Recorder == nil {
		return
	}
	name := v.name
	if name == "" {
		name = v.make
	}
	c.Recorder.Event(&v1alpha1.Namespace{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
	}, corev1.EventTypeWarning, ReasonNameTaken, message)
}

// show hands the names to what serves the folders. The lock is held.
func (c *Controller) show() {
	names := Names{Granted: maps.Clone(c.granted), Refused: maps.Clone(c.refused), Reserved: map[string]bool{}}
	for name, record := range c.made {
		if record.Pending && record.Folder.IsZero() && record.UID != "" && !record.Released {
			names.Reserved[name] = true
		}
	}
	c.Projection.SetNames(names)
}

// NameOf returns the name under which a folder is served; empty: none.
func (c *Controller) NameOf(folder facts.ID) string {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.granted[folder]
}

// Standing says whether a Namespace is the one in which a folder is served, and
// whether Pacific made it for it. Without a folder, it is about one that is yet to
// come.
func (c *Controller) Standing(namespace *corev1.Namespace, folder facts.ID) (held, made bool) {
	c.lock.Lock()
	defer c.lock.Unlock()
	granted := c.granted[folder]
	if !folder.IsZero() && granted != namespace.Name && granted != "" {
		return false, false
	}
	if record := c.made[namespace.Name]; folder.IsZero() {
		made = record.made(namespace) && record.Pending && !record.Released
		return made, made
	}
	at := Folder{ID: folder, Path: namespace.Name}
	if now, there := c.folder(folder.String()); granted == "" {
		if at.Path = ""; there {
			at.Path = now.Path
		}
	}
	by := c.claimOf(namespace, at)
	made = by == madeFor || by == madeOpen
	// What Pacific made for the folder stands for it also before anybody has looked at that: else it would be left behind when
	// the folder goes so soon.
	return made || by == claimed && granted != "", made
}
