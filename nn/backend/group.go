package backend

import (
	"errors"
	"fmt"
)

// Group is a Device that is several: a training gives each of them a share of every batch. To all else it is its first
// member.
type Group interface {
	Device
	// Members are the devices, at least one. They are alike: one plan is made for all.
	Members() []Device
}

// NewGroup returns a group of devices, which it closes. They are of one kind.
func NewGroup(name string, members ...Device) (Group, error) {
	for _, d := range members {
		if d.Policy() != members[0].Policy() || len(d.Lanes()) != len(members[0].Lanes()) {
			return nil, fmt.Errorf("backend: %s and %s differ: a group is of devices of one kind", members[0].Name(), d.Name())
		}
	}
	if len(members) == 0 {
		return nil, errors.New("backend: a group has at least one device")
	}
	return &group{members[0], name, members}, nil
}

type group struct {
	Device // the first
	name   string
	all    []Device
}

func (g *group) Name() string      { return g.name }
func (g *group) Members() []Device { return g.all }

// Free returns what is free on the member that has least.
func (g *group) Free() (int, error) {
	least := -1
	for _, d := range g.all {
		free, err := d.Free()
		if err != nil {
			return 0, err
		}
		if least < 0 || free < least {
			least = free
		}
	}
	return least, nil
}

func (g *group) Close() error {
	var errs []error
	for _, d := range g.all {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

// Members returns the members of a Group, or the device itself.
func Members(d Device) []Device {
	if g, ok := d.(Group); ok {
		return g.Members()
	}
	return []Device{d}
}
