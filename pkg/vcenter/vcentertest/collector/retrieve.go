// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// page is what a retrieval has not answered with yet.
type page struct {
	size    int
	objects []types.ObjectContent
}

// next takes so many objects off a page, and says under which token the rest is kept.
func (c *propertyCollector) next(p page) (objects []types.ObjectContent, token string) {
	if p.size <= 0 || len(p.objects) <= p.size {
		return p.objects, ""
	}
	token = uuid.NewString()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pages == nil {
		c.pages = map[string]page{}
	}
	c.pages[token] = page{size: p.size, objects: p.objects[p.size:]}
	return p.objects[:p.size], token
}

// RetrievePropertiesEx brings views up to date, finds the objects, and has the simulator read each under its lock.
func (c *propertyCollector) RetrievePropertiesEx(ctx *simulator.Context,
	req *types.RetrievePropertiesEx) soap.HasFault {
	body := new(methods.RetrievePropertiesExBody)
	contents, fault := c.retrieve(ctx, req.SpecSet)
	if fault != nil {
		body.Fault_ = fault
		return body
	}
	objects, token := c.next(page{size: int(req.Options.MaxObjects), objects: contents})
	body.Res = &types.RetrievePropertiesExResponse{Returnval: &types.RetrieveResult{Objects: objects, Token: token}}
	return body
}

// RetrieveProperties is the deprecated form, in one piece.
func (c *propertyCollector) RetrieveProperties(ctx *simulator.Context, req *types.RetrieveProperties) soap.HasFault {
	body := new(methods.RetrievePropertiesBody)
	contents, fault := c.retrieve(ctx, req.SpecSet)
	if fault != nil {
		body.Fault_ = fault
		return body
	}
	body.Res = &types.RetrievePropertiesResponse{Returnval: contents}
	return body
}

// ContinueRetrievePropertiesEx answers with the next page.
func (c *propertyCollector) ContinueRetrievePropertiesEx(_ *simulator.Context,
	req *types.ContinueRetrievePropertiesEx) soap.HasFault {
	body := new(methods.ContinueRetrievePropertiesExBody)
	p, ok := c.take(req.Token)
	if !ok {
		body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "token"})
		return body
	}
	objects, token := c.next(p)
	body.Res = &types.ContinueRetrievePropertiesExResponse{Returnval: types.RetrieveResult{Objects: objects, Token: token}}
	return body
}

// CancelRetrievePropertiesEx forgets the pages that are left.
func (c *propertyCollector) CancelRetrievePropertiesEx(_ *simulator.Context,
	req *types.CancelRetrievePropertiesEx) soap.HasFault {
	body := new(methods.CancelRetrievePropertiesExBody)
	if _, ok := c.take(req.Token); !ok {
		body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "token"})
		return body
	}
	body.Res = new(types.CancelRetrievePropertiesExResponse)
	return body
}

func (c *propertyCollector) take(token string) (page, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.pages[token]
	delete(c.pages, token)
	return p, ok
}

// retrieve reads everything that specifications ask for.
func (c *propertyCollector) retrieve(ctx *simulator.Context,
	specs []types.PropertyFilterSpec) ([]types.ObjectContent, *soap.Fault) {
	if ctx.Session == nil {
		// Without a login only what the simulator lets everybody read, which is nothing that moves.
		res := c.PropertyCollector.RetrievePropertiesEx(ctx, &types.RetrievePropertiesEx{This: c.Self, SpecSet: specs})
		if fault := res.Fault(); fault != nil {
			return nil, fault
		}
		return res.(*methods.RetrievePropertiesExBody).Res.Returnval.Objects, nil
	}
	if fault := trackerOf(ctx).denied(ctx, specs); fault != nil {
		return nil, simulator.Fault("", fault)
	}
	flat := make([]types.PropertyFilterSpec, 0, len(specs))
	for _, spec := range specs {
		refs, fault := objectsOf(ctx, spec)
		if fault != nil {
			return nil, simulator.Fault("The object has already been deleted or has not been completely created", fault)
		}
		flat = append(flat, naming(spec.PropSet, refs))
	}
	contents, fault := collect(ctx, flat...)
	if fault != nil {
		return nil, simulator.Fault("", fault)
	}
	return contents, nil
}

// objectsOf lists the objects of a specification. One that it names and that is not there is a fault, unless the
// specification takes that.
func objectsOf(ctx *simulator.Context, spec types.PropertyFilterSpec) ([]types.ManagedObjectReference,
	types.BaseMethodFault) {
	var refs []types.ManagedObjectReference
	for _, set := range spec.ObjectSet {
		if view, ok := ctx.Session.Get(set.Obj).(*containerView); ok {
			view.refresh(ctx)
		}
		found, exists := selected(ctx, set)
		if !exists && (spec.ReportMissingObjectsInResults == nil || !*spec.ReportMissingObjectsInResults) {
			return nil, &types.ManagedObjectNotFound{Obj: set.Obj}
		}
		refs = append(refs, found...)
	}
	return refs, nil
}

// naming asks for properties of objects by their names. One that goes meanwhile is left out.
func naming(properties []types.PropertySpec, refs []types.ManagedObjectReference) types.PropertyFilterSpec {
	spec := types.PropertyFilterSpec{PropSet: properties, ReportMissingObjectsInResults: types.NewBool(true)}
	for _, ref := range refs {
		spec.ObjectSet = append(spec.ObjectSet, types.ObjectSpec{Obj: ref})
	}
	return spec
}

// collect has the simulator read objects that specifications name, without what is kept from whoever calls.
func collect(ctx *simulator.Context, specs ...types.PropertyFilterSpec) ([]types.ObjectContent, types.BaseMethodFault) {
	reader := new(simulator.PropertyCollector)
	res := reader.RetrievePropertiesEx(ctx, &types.RetrievePropertiesEx{SpecSet: specs})
	if fault := res.Fault(); fault != nil {
		return nil, fault.VimFault().(types.BaseMethodFault)
	}
	contents := res.(*methods.RetrievePropertiesExBody).Res.Returnval.Objects
	trackerOf(ctx).withhold(ctx, contents)
	trackerOf(ctx).veil(contents)
	trackerOf(ctx).showing(contents)
	return contents, nil
}
