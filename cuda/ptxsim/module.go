package ptxsim

import "sync"

// texts holds functions that return parsed modules, by their PTX: the devices of a process mostly load the same kernels.
var texts struct {
	sync.Mutex
	modules map[string]func() (*module, error)
}

// maxTexts is enough for the kernels of some models, each with a form for its shape.
const maxTexts = 512

// parsed returns the module of a text.
func parsed(ptx string) (*module, error) { return parsing(ptx)() }

// parsing returns the function that parses a text the first time.
func parsing(ptx string) func() (*module, error) {
	texts.Lock()
	defer texts.Unlock()
	if f := texts.modules[ptx]; f != nil {
		return f
	}
	if len(texts.modules) >= maxTexts || texts.modules == nil {
		texts.modules = map[string]func() (*module, error){}
	}
	f := sync.OnceValues(func() (*module, error) { return parse(ptx) })
	texts.modules[ptx] = f
	return f
}

// programs decodes the kernels. symbols are the addresses of the module's variables; without any the programs are the same for
// every device, and decoded once.
func (m *module) programs(symbols map[string]symbol) ([]*program, error) {
	if len(symbols) > 0 {
		return m.decode(symbols)
	}
	m.once.Do(func() {
		m.plain, m.err = m.decode(nil)
		for _, e := range m.entries {
			e.body = nil
		}
	})
	return m.plain, m.err
}

func (m *module) decode(symbols map[string]symbol) ([]*program, error) {
	var list []*program
	for _, e := range m.entries {
		p, err := decode(m, e, symbols)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}
