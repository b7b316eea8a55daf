package jinja

// expression reads one expression; cond allows "a if b else c" at its top.
func (p *parser) expression(cond bool) expr {
	defer p.deeper()()
	if !cond {
		return p.or()
	}
	line, mark := p.cur().line, len(p.soft)
	x := p.or()
	for p.skipName("if") {
		test := p.or()
		var els expr
		if p.skipName("else") {
			els = p.expression(true)
		}
		x = &condExpr{test, x, els, line}
		p.soft = p.soft[:mark]
		line = p.cur().line
	}
	return x
}

// tuple reads expressions with commas between them; without a comma, one expression.
func (p *parser) tuple(cond bool) expr { return p.tupleIn(cond, false) }

// tupleIn is tuple; between brackets there may be nothing.
func (p *parser) tupleIn(cond, brackets bool) expr {
	var items []expr
	tuple := false
	for {
		if len(items) > 0 {
			p.expectOp(",")
		}
		if p.tupleEnd() {
			break
		}
		items = append(items, p.expression(cond))
		if !p.isOp(",") {
			break
		}
		tuple = true
	}
	if !tuple && len(items) == 1 {
		return items[0]
	}
	if len(items) == 0 && !brackets {
		p.fail(p.cur().line, "Expected an expression, got '%s'", p.cur())
	}
	return &tupleExpr{items}
}

func (p *parser) or() expr {
	x := p.and()
	for p.skipName("or") {
		x = &boolExpr{false, x, p.and()}
	}
	return x
}

func (p *parser) and() expr {
	x := p.not()
	for p.skipName("and") {
		x = &boolExpr{true, x, p.not()}
	}
	return x
}

func (p *parser) not() expr {
	if p.skipName("not") {
		defer p.deeper()()
		return &notExpr{p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	line := p.cur().line
	x := p.sum()
	c := &compareExpr{first: x, line: line}
	for {
		op := ""
		switch t := p.cur(); {
		case t.kind == tOp && (t.text == "==" || t.text == "!=" || t.text == "<" || t.text == "<=" || t.text == ">" || t.text == ">="):
			op = t.text
			p.at++
		case p.skipName("in"):
			op = "in"
		case p.isName("not") && p.peek().kind == tName && p.peek().text == "in":
			op = "not in"
			p.at += 2
		}
		if op == "" {
			break
		}
		c.ops, c.rest = append(c.ops, op), append(c.rest, p.sum())
	}
	if len(c.ops) == 0 {
		return x
	}
	return c
}

// binary reads a chain of left-associative operators.
func (p *parser) binary(operand func() expr, ops ...string) expr {
	x := operand()
	for {
		line, op := p.cur().line, ""
		for _, o := range ops {
			if p.isOp(o) {
				op = o
			}
		}
		if op == "" {
			return x
		}
		p.at++
		x = &binaryExpr{op, x, operand(), line}
	}
}

func (p *parser) sum() expr { return p.binary(p.concat, "+", "-") }

func (p *parser) concat() expr {
	line := p.cur().line
	x := p.product()
	if !p.isOp("~") {
		return x
	}
	items := []expr{x}
	for p.skipOp("~") {
		items = append(items, p.product())
	}
	return &concatExpr{items, line}
}

func (p *parser) product() expr { return p.binary(p.power, "*", "/", "//", "%") }

func (p *parser) power() expr {
	return p.binary(func() expr { return p.unary(true) }, "**")
}

func (p *parser) unary(filters bool) expr {
	line := p.cur().line
	var x expr
	switch {
	case p.isOp("-") || p.isOp("+"):
		defer p.deeper()()
		op := p.take().text
		x = &unaryExpr{op, p.unary(false), line}
	default:
		x = p.primary()
	}
	x = p.postfix(x)
	if filters {
		x = p.filters(x)
	}
	return x
}

func (p *parser) primary() expr {
	t := p.take()
	switch t.kind {
	case tName:
		switch t.text {
		case "true", "True":
			return &constExpr{true}
		case "false", "False":
			return &constExpr{false}
		case "none", "None":
			return &constExpr{nil}
		}
		p.uses[t.text]++
		p.sym.note(t.text, false)
		return &nameExpr{t.text, t.line}
	case tString:
		s := t.text
		for p.cur().kind == tString {
			s += p.take().text
		}
		return &constExpr{s}
	case tInt, tFloat:
		return &constExpr{t.num}
	case tOp:
		switch t.text {
		case "(":
			x := p.tupleIn(true, true)
			p.expectOp(")")
			return x
		case "[":
			return &listExpr{p.items("]", func() expr { return p.expression(true) })}
		case "{":
			d := &dictExpr{}
			d.keys = p.items("}", func() expr {
				k := p.expression(true)
				p.expectOp(":")
				d.values = append(d.values, p.expression(true))
				return k
			})
			return d
		}
	}
	p.fail(t.line, "unexpected '%s'", t)
	return nil
}

// items reads what stands between brackets, up to and over the closing one; a comma may stand before it.
func (p *parser) items(end string, item func() expr) (items []expr) {
	for !p.isOp(end) {
		if len(items) > 0 {
			p.expectOp(",")
			if p.isOp(end) {
				break
			}
		}
		items = append(items, item())
	}
	p.at++
	return items
}

func (p *parser) postfix(x expr) expr {
	for {
		line := p.cur().line
		switch {
		case p.skipOp("."):
			switch t := p.take(); t.kind {
			case tName:
				x = &attrExpr{x, t.text, line}
			case tInt:
				x = &itemExpr{x, &constExpr{t.num}, line}
			default:
				p.fail(t.line, "expected name or number")
			}
		case p.skipOp("["):
			x = p.subscript(x, line)
		case p.isOp("("):
			x = &callExpr{x, p.args(), line}
		default:
			return x
		}
	}
}

func (p *parser) subscript(x expr, line int) expr {
	var slice *sliceExpr
	items := p.items("]", func() expr {
		var from expr
		if !p.isOp(":") {
			from = p.expression(true)
			if !p.isOp(":") {
				return from
			}
		}
		p.at++
		part := func() expr {
			if p.isOp(":") || p.isOp("]") || p.isOp(",") {
				return nil
			}
			return p.expression(true)
		}
		slice = &sliceExpr{x: x, from: from, line: line}
		slice.to = part()
		if p.skipOp(":") {
			slice.step = part()
		}
		return slice
	})
	switch {
	case len(items) == 1 && slice != nil:
		return slice
	case slice != nil:
		p.fail(line, "a slice among several subscripts")
	case len(items) == 1:
		return &itemExpr{x, items[0], line}
	}
	return &itemExpr{x, &tupleExpr{items}, line}
}

func (p *parser) args() argExprs {
	line := p.take().line
	var a argExprs
	ensure := func(ok bool) {
		if !ok {
			p.fail(line, "invalid syntax for function call expression")
		}
	}
	for first := true; !p.isOp(")"); first = false {
		if !first {
			p.expectOp(",")
			if p.isOp(")") {
				break
			}
		}
		switch {
		case p.skipOp("*"):
			ensure(a.star == nil && a.starStar == nil)
			a.star = p.expression(true)
		case p.skipOp("**"):
			ensure(a.starStar == nil)
			a.starStar = p.expression(true)
		case p.cur().kind == tName && p.peek().kind == tOp && p.peek().text == "=":
			ensure(a.starStar == nil)
			name := p.take().text
			for _, n := range a.names {
				if n == name {
					p.fail(line, "keyword argument repeated: %s", name)
				}
			}
			p.at++
			a.names, a.kw = append(a.names, name), append(a.kw, p.expression(true))
		default:
			ensure(a.star == nil && a.starStar == nil && len(a.names) == 0)
			a.pos = append(a.pos, p.expression(true))
		}
	}
	p.at++
	return a
}

// filters reads the filters, tests and calls that follow an operand.
func (p *parser) filters(x expr) expr {
	for {
		line := p.cur().line
		switch {
		case p.isOp("|"):
			x = p.filter(x, false)
		case p.isName("is"):
			x = p.test(x)
		case p.isOp("("):
			x = &callExpr{x, p.args(), line}
		default:
			return x
		}
	}
}

func (p *parser) dotted() token {
	t := p.expect(tName)
	for p.skipOp(".") {
		t.text += "." + p.expect(tName).text
	}
	return t
}

// filter reads a chain of filters over x; inline: the first has no bar before it.
func (p *parser) filter(x expr, inline bool) expr {
	for inline || p.isOp("|") {
		if !inline {
			p.at++
		}
		inline = false
		t := p.dotted()
		f := &filterExpr{x: x, name: t.text, line: t.line}
		if filters[t.text] == nil {
			p.missing("filter", t.text, t.line)
		}
		if p.isOp("(") {
			f.args = p.args()
		}
		x = f
	}
	return x
}

func (p *parser) test(x expr) expr {
	line := p.take().line
	negated := p.skipName("not")
	name := p.dotted().text
	t := &testExpr{x: x, name: name, line: line}
	if tests[name] == nil {
		p.missing("test", name, line)
	}
	switch c := p.cur(); {
	case p.isOp("("):
		t.args = p.args()
	case c.kind == tName && (c.text == "else" || c.text == "or" || c.text == "and"):
	case c.kind == tName && c.text == "is":
		p.fail(c.line, "You cannot chain multiple tests with is")
	case c.kind == tName || c.kind == tString || c.kind == tInt || c.kind == tFloat || p.isOp("[") || p.isOp("{"):
		t.args.pos = []expr{p.postfix(p.primary())}
	}
	if negated {
		return &notExpr{t}
	}
	return t
}
