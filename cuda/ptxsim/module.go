package ptxsim

import "sync"

// texts holds parsed modules by their PTX: the devices of a process mostly load the same kernels.
var texts struct {
	sync.Mutex
	modules map[string]*module
}

const maxTexts = 64

// parsed returns the module of a text.
func parsed(ptx string) (*module, error) {
	texts.Lock()
	defer texts.Unlock()
	if m := texts.modules[ptx]; m != nil {
		return m, nil
	}
	m, err := parse(ptx)
	if err != nil {
		return nil, err
	}
	if len(texts.modules) >= maxTexts || texts.modules == nil {
		texts.modules = map[string]*module{}
	}
	texts.modules[ptx] = m
	return m, nil
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
