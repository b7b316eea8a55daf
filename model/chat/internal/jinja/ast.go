package jinja

// expr is an expression of a template.
type expr interface {
	eval(st *state) Value
}

// stmt is a statement. What exec returns says how the enclosing loop goes on.
type stmt interface {
	exec(st *state) flow
}

type flow uint8

const (
	next flow = iota
	breakLoop
	continueLoop
)

// Expressions.
type (
	constExpr struct{ v Value }
	nameExpr  struct {
		name string
		line int
	}
	listExpr  struct{ items []expr }
	tupleExpr struct{ items []expr }
	dictExpr  struct{ keys, values []expr }
	condExpr  struct {
		test, then, els expr // els may be nil
		line            int
	}
	notExpr  struct{ x expr }
	boolExpr struct { // and, or
		and  bool
		l, r expr
	}
	compareExpr struct {
		first expr
		ops   []string
		rest  []expr
		line  int
	}
	concatExpr struct {
		items []expr
		line  int
	}
	binaryExpr struct {
		op   string
		l, r expr
		line int
	}
	unaryExpr struct {
		op   string
		x    expr
		line int
	}
	attrExpr struct {
		x    expr
		name string
		line int
	}
	itemExpr struct {
		x, key expr
		line   int
	}
	sliceExpr struct { // x[from:to:step], parts may be nil
		x              expr
		from, to, step expr
		line           int
	}
	callExpr struct {
		f    expr
		args argExprs
		line int
	}
	filterExpr struct {
		x    expr // nil: the body of a block
		name string
		args argExprs
		line int
	}
	testExpr struct {
		x    expr
		name string
		args argExprs
		line int
	}
)

// argExprs are the arguments of a call.
type argExprs struct {
	pos      []expr
	names    []string
	kw       []expr
	star     expr // *args
	starStar expr // **kwargs
}

// nsTarget is namespace.attribute on the left of a set.
type nsTarget struct{ name, attr string }

// Statements.
type (
	textStmt   struct{ text string }
	outputStmt struct {
		x    expr
		line int
	}
	ifStmt struct {
		tests  []expr
		bodies [][]stmt
		els    []stmt
		line   int
	}
	forStmt struct {
		target    expr // nameExpr or tupleExpr
		iter      expr
		test      expr // nil: every item
		recursive bool
		body, els []stmt
		line      int
		// Names undefined at the start of the body, and of the else.
		unset, elsUnset []string
	}
	setStmt struct {
		target expr // nameExpr, tupleExpr or nsTarget
		x      expr
		line   int
	}
	setBlock struct {
		target expr
		filter expr // nil: none
		body   []stmt
		line   int
		unset  []string
	}
	withStmt struct {
		targets, values []expr
		body            []stmt
		line            int
		unset           []string
	}
	filterBlock struct {
		filter expr
		body   []stmt
		line   int
		unset  []string
	}
	macroStmt struct {
		name string
		sig  signature
		body []stmt
		line int
	}
	callBlock struct {
		call *callExpr
		sig  signature
		body []stmt
		line int
	}
	generationStmt struct {
		sig  signature
		body []stmt
		line int
	}
	blockStmt struct {
		body   []stmt
		scoped bool
		line   int
		unset  []string
	}
	autoescapeStmt struct {
		on    expr
		body  []stmt
		line  int
		unset []string
	}
	flowStmt  struct{ f flow }
	printStmt struct {
		items []expr
		line  int
	}
	refusedStmt struct { // include, import, extends: fails when reached
		what string
		line int
	}
)

// signature is what a macro or call block takes.
type signature struct {
	params   []string
	defaults []expr // of the last params
	caller   bool   // the body uses caller
	varargs  bool
	kwargs   bool
	unset    []string // names undefined at the start of the body
}
