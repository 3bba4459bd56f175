package backend

// Group is a Device that is several: a training gives each of them a share of every batch. Used as one device it is its
// first member.
type Group interface {
	Device
	// Members are the devices, at least one. They are alike: one plan is made for all.
	Members() []Device
}

// Members returns the members of a Group, or the device itself.
func Members(d Device) []Device {
	if g, ok := d.(Group); ok {
		return g.Members()
	}
	return []Device{d}
}
