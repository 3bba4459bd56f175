package op

// Recompute has calls of the forward pass, which are those from first up to end, done again in the backward pass, so that memory need not keep
// what they write in between: a copy of a call comes just before the first call of the backward pass, or the first other copy, that reads what it
// wrote. again says of which calls; one whose copy would not make the same, or would do it a second time, is left as it is. All
// calls of the tape must be there. It returns the copies.
func (t *Tape) Recompute(first, end int, again func(i int) bool) (copies []Call) {
	changes := t.changes()
	r := recomputer{Tape: t, makers: map[Value]Call{}, became: map[Value]Value{}}
	for i, c := range t.Calls[first:end] {
		if again(first+i) && t.repeatable(c, changes) {
			for _, v := range Writes(c.Op) {
				r.makers[v] = c
			}
		}
	}
	backward := t.Calls[end:]
	t.Calls = append([]Call(nil), t.Calls[:end]...)
	for _, c := range backward {
		r.need(c.Op)
		t.Calls = append(t.Calls, c)
	}
	return r.copies
}

// changes counts the calls that write each value, and one more for each that changes it.
func (t *Tape) changes() []int {
	n := make([]int, len(t.Values))
	for _, c := range t.Calls {
		c.Op.Args(func(v *Value, u Use) {
			switch u {
			case Write:
				n[*v]++
			case Add:
				n[*v] += 2
			}
		})
	}
	return n
}

// repeatable reports whether a call makes the same if it is done again later: it writes the arena alone, and what it touches is
// written once at the most. What is there from the beginning, such as a codebook, is not written at all.
func (t *Tape) repeatable(c Call, changes []int) bool {
	ok := !c.Once
	c.Op.Args(func(v *Value, u Use) {
		space, most := t.Values[*v].Space, 0
		if space == Arena || space == Batch {
			most = 1
		}
		if *v != None && (u != Read && space != Arena || changes[*v] > most) {
			ok = false
		}
	})
	return ok
}

type recomputer struct {
	*Tape
	makers map[Value]Call  // of what is to be made again
	became map[Value]Value // what has been
	copies []Call
}

// need has what an op reads made again, and the op read that.
func (r *recomputer) need(o Op) {
	for _, v := range Reads(o) {
		if c, ok := r.makers[v]; ok && r.became[v] == None {
			r.repeat(c)
		}
	}
	o.Args(func(v *Value, _ Use) {
		if n, ok := r.became[*v]; ok {
			*v = n
		}
	})
}

// repeat emits a copy of a call.
func (r *recomputer) repeat(c Call) {
	o := clone(c.Op)
	r.need(o)
	for _, v := range Writes(c.Op) {
		r.became[v] = r.Like(v)
	}
	o.Args(func(v *Value, _ Use) {
		if n, ok := r.became[*v]; ok {
			*v = n
		}
	})
	c.Op = o
	c.Beside = false
	r.Calls = append(r.Calls, c)
	r.copies = append(r.copies, c)
}
