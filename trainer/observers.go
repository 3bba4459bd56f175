package trainer

// Observers are told one after the other.
type Observers []Observer

// Start tells all of them.
func (o Observers) Start(s Start) {
	for _, each := range o {
		each.Start(s)
	}
}

// First tells all of them.
func (o Observers) First(f FirstStep) {
	for _, each := range o {
		each.First(f)
	}
}

// Step tells all of them.
func (o Observers) Step(s Step) {
	for _, each := range o {
		each.Step(s)
	}
}

// Epoch tells all of them.
func (o Observers) Epoch(e Epoch) {
	for _, each := range o {
		each.Epoch(e)
	}
}

// Drawn tells all of them.
func (o Observers) Drawn(d Drawn) {
	for _, each := range o {
		each.Drawn(d)
	}
}

// Note tells all of them.
func (o Observers) Note(text string) {
	for _, each := range o {
		each.Note(text)
	}
}
