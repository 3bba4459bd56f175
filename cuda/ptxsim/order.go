package ptxsim

import "slices"

// Launches of several streams. A simulated device runs work when it is given, but on a GPU two launches run in any order, or at the
// same time, unless one stream has both of them, an event of one stream is waited for by the other, or the host has waited. So
// every stream knows, of each stream, up to which launch its next work comes after; a launch looks at what the others have
// touched (see race.go), and OnLaunch and BeforeLaunch are told of them.

// order is what the next work of a stream comes after: the numbers of launches, by stream.
type order struct {
	stream int
	after  clock
}

// clock holds for each stream the number of a launch, 0 for none.
type clock []uint64

// join makes what has this clock come after what another clock is of.
func (c *clock) join(o clock) {
	if n := len(o) - len(*c); n > 0 {
		*c = append(*c, make(clock, n)...)
	}
	for i, v := range o {
		(*c)[i] = max((*c)[i], v)
	}
}

// of returns the number for a stream.
func (c clock) of(stream int) uint64 {
	if stream >= len(c) {
		return 0
	}
	return c[stream]
}

// past is a launch that other streams may not come after.
type past struct {
	number     uint64
	kernel     string
	first, end uint32 // its tags, see race.go
}

// history has what orders the launches of a device.
type history struct {
	orders []*order // of the open streams
	host   clock    // what the host has waited for: all that it calls from now on comes after it
	last   uint64   // number of the latest launch
	past   [][]past // by stream, in order
}

// open makes the order of a new stream.
func (h *history) open() *order {
	o := &order{stream: len(h.past), after: make(clock, len(h.past)+1)}
	h.past = append(h.past, nil)
	h.orders = append(h.orders, o)
	return o
}

// close forgets a stream.
func (h *history) close(o *order) {
	h.orders = slices.DeleteFunc(h.orders, func(p *order) bool { return p == o })
}

// beside returns the launches of other streams that nothing orders before the next one of this stream.
func (h *history) beside(o *order) (list []past) {
	o.after.join(h.host)
	for stream, launches := range h.past {
		for i := len(launches) - 1; i >= 0 && stream != o.stream && launches[i].number > o.after.of(stream); i-- {
			list = append(list, launches[i])
		}
	}
	return list
}

// numbersOf returns the numbers of launches.
func numbersOf(list []past) (n []uint64) {
	for _, p := range list {
		n = append(n, p.number)
	}
	return n
}

// add notes the next launch of a stream, and forgets those that all streams come after.
func (h *history) add(o *order, kernel string, first, end uint32) (number uint64) {
	h.last++
	o.after[o.stream] = h.last
	all := h.last
	for _, other := range h.orders {
		all = min(all, max(other.after.of(o.stream), h.host.of(o.stream)))
	}
	kept := slices.DeleteFunc(h.past[o.stream], func(p past) bool { return p.number <= all })
	h.past[o.stream] = append(kept, past{h.last, kernel, first, end})
	return h.last
}

// forget drops the tags of all launches.
func (h *history) forget() {
	for i := range h.past {
		h.past[i] = nil
	}
}

// find returns the launch that has a tag, or nil.
func find(list []past, tag uint32) *past {
	for i := range list {
		if p := &list[i]; p.first <= tag && tag < p.end {
			return p
		}
	}
	return nil
}
