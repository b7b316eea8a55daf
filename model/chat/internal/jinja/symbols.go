package jinja

// symbols are the names that a scope reads and sets. Jinja decides when it compiles where a name lives: one that a scope sets, without a
// condition and before reading it, and that no scope around it knows, is the scope's own from the scope's start. Until it is set it is
// undefined there, for inner scopes too, even if the render was given a variable of that name.
type symbols struct {
	up    *symbols
	first map[string]bool // whether the first thing done with a name is to set it without a condition
	order []string
	unset *[]string // where the names go that are undefined at the start
}

// frame makes the symbols of a scope inside the present one.
func (p *parser) frame(unset *[]string) *symbols {
	s := &symbols{up: p.sym, first: map[string]bool{}, unset: unset}
	p.frames = append(p.frames, s)
	return s
}

// note says that a name is read or, without a condition, set.
func (s *symbols) note(name string, set bool) {
	if _, ok := s.first[name]; !ok {
		s.first[name] = set
		s.order = append(s.order, name)
	}
}

// stores notes what a set assigns to.
func (p *parser) stores(target expr) {
	switch t := target.(type) {
	case *nameExpr:
		p.sym.note(t.name, p.branch == 0)
	case *nsTarget:
		p.sym.note(t.name, false)
	case *tupleExpr:
		for _, x := range t.items {
			p.stores(x)
		}
	}
}

// params notes names that a scope has from its start.
func (p *parser) params(target expr) {
	switch t := target.(type) {
	case *nameExpr:
		p.sym.note(t.name, false)
	case *tupleExpr:
		for _, x := range t.items {
			p.params(x)
		}
	}
}

// resolve fills in the names that are undefined at their scopes' start, when all of the template is read.
func (p *parser) resolve() {
	for _, s := range p.frames {
		for _, name := range s.order {
			if s.first[name] && !s.up.knows(name) {
				*s.unset = append(*s.unset, name)
			}
		}
	}
}

func (s *symbols) knows(name string) bool {
	for ; s != nil; s = s.up {
		if _, ok := s.first[name]; ok {
			return true
		}
	}
	return false
}
