package code

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"strings"

	"github.com/gor1/gor1/reward/code/sandbox"
)

//go:embed wire.go.txt
var wireSource string

// gradeGo runs tests written in Go (HumanEval in MultiPL-E's translation) against a function in Go. Two programs are
// compiled: the answer with a server for calls, and the tests with a stand-in of the same signature that calls it.
func (g *Grader) gradeGo(ctx context.Context, t Tests, source string) (Report, error) {
	tests, err := goTests(t)
	if err != nil {
		return Report{}, fmt.Errorf("code: the problem's tests are broken: %w", err)
	}
	grader, why, err := g.buildGo(ctx, tests, wireSource)
	if err != nil || why != "" {
		return Report{}, errors.Join(err, brokenTests(why))
	}
	job, why, err := g.buildGo(ctx, goAnswer(t, source), wireSource)
	if err != nil {
		return Report{}, err
	}
	if why != "" {
		return Report{Tests: []Outcome{{Why: why}}}, nil
	}
	grader.Limits = sandbox.Limits{CPU: g.cfg.Total, Wall: g.cfg.Total, Processes: 64}
	judge, err := g.cfg.Sandbox.Start(ctx, grader)
	if err != nil {
		return Report{}, fmt.Errorf("code: start the grader: %w", err)
	}
	answer, err := g.startCallee(ctx, job, nil)
	if err != nil {
		judge.Kill()
		_, e := judge.Wait()
		return Report{}, errors.Join(err, e)
	}
	calls := 0
	for in := bufio.NewReader(judge.Stdout); ; calls++ {
		line, err := readLine(in)
		if err != nil {
			break
		}
		judge.Stdin.Write(append(answer.call(append(line, '\n'), g.cfg.Test.Wall), '\n'))
	}
	res, err := judge.Wait()
	switch err := errors.Join(err, answer.end()); {
	case err != nil:
		return Report{}, err
	case ctx.Err() != nil:
		return Report{}, nil
	case calls == 0:
		return Report{}, brokenTests("they never called the answer")
	}
	o := Outcome{Passed: res.OK()} // the grader's own exit code: the job is another process
	if !o.Passed {
		o.Why = "the tests failed: " + res.String()
		if answer.dead != endedByGrader {
			o.Why += "; the answer's process ended: " + answer.dead
		}
	}
	return Report{Tests: []Outcome{o}}, nil
}

func brokenTests(why string) error {
	if why == "" {
		return nil
	}
	return fmt.Errorf("code: the problem's tests are broken: %s", why)
}

var goFunc = regexp.MustCompile(`(?m)^func\s+(\w+)\s*\(`)

// goEntry is the function a prompt leaves open: its last.
func goEntry(prompt string) string {
	all := goFunc.FindAllStringSubmatch(prompt, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1][1]
}

// goAnswer is the source of the job. An answer may be the rest of the prompt's function, or the whole of it.
func goAnswer(t Tests, answer string) string {
	switch {
	case !regexp.MustCompile(`(?m)^func\s+` + regexp.QuoteMeta(t.Entry) + `\b`).MatchString(answer):
		answer = t.Prelude + answer
	case !regexp.MustCompile(`(?m)^package\s`).MatchString(answer):
		answer = "package main\n\nimport (\n\t\"fmt\"\n\t\"testing\"\n)\n" + answer
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "main.go", answer, parser.SkipObjectResolution|parser.ParseComments)
	if err != nil {
		return answer // the compiler says what is wrong
	}
	for i, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "main" {
			f.Decls = append(f.Decls[:i:i], f.Decls[i+1:]...)
			break
		}
	}
	return printGo(fset, f) + fmt.Sprintf("\nfunc main() { wireServe(map[string]any{%q: %s}) }\n", t.Entry, t.Entry)
}

// goTests is the source of the grader: the prompt with a stand-in for its function, the tests, and a main that runs them.
func goTests(t Tests) (string, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "tests.go", t.Prelude+"\npanic(0)\n}\n"+strings.Join(t.Asserts, "\n"), parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	var names []string
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil {
			continue
		}
		if strings.HasPrefix(fn.Name.Name, "Test") {
			names = append(names, fn.Name.Name)
		}
		if fn.Name.Name == t.Entry {
			if fn.Body, err = standIn(fn); err != nil {
				return "", err
			}
		}
	}
	if len(names) == 0 {
		return "", errors.New("no test function")
	}
	out.WriteString(printGo(fset, f))
	out.WriteString("\nfunc main() {\n\ttesting.Main(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{\n")
	for _, n := range names {
		fmt.Fprintf(&out, "\t\t{%q, %s},\n", n, n)
	}
	out.WriteString("\t}, nil, nil)\n}\n")
	return out.String(), nil
}

// standIn names the parameters and results of a function, and returns a body that calls the answer.
func standIn(fn *ast.FuncDecl) (*ast.BlockStmt, error) {
	name := func(fields *ast.FieldList, prefix string) string {
		var refs []string
		if fields != nil {
			for _, f := range fields.List {
				n := max(1, len(f.Names))
				f.Names = nil
				for range n {
					id := fmt.Sprintf("%s%d", prefix, len(refs))
					f.Names = append(f.Names, ast.NewIdent(id))
					refs = append(refs, "&"+id)
				}
			}
		}
		return strings.Join(refs, ", ")
	}
	args, results := name(fn.Type.Params, "arg"), name(fn.Type.Results, "res")
	call, err := parser.ParseExpr(fmt.Sprintf("wireAsk(%q, []any{%s}, []any{%s})", fn.Name.Name, args, results))
	if err != nil {
		return nil, err
	}
	return &ast.BlockStmt{List: []ast.Stmt{&ast.ExprStmt{X: call}, &ast.ReturnStmt{}}}, nil
}

// printGo prints a file as package main, without the imports it does not use.
func printGo(fset *token.FileSet, f *ast.File) string {
	f.Name = ast.NewIdent("main")
	used := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := s.X.(*ast.Ident); ok {
				used[id.Name] = true
			}
		}
		return true
	})
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.IMPORT {
			continue
		}
		for _, s := range g.Specs {
			spec := s.(*ast.ImportSpec)
			name := path.Base(strings.TrimSuffix(strings.Trim(spec.Path.Value, `"`), "/v2"))
			if spec.Name != nil {
				name = spec.Name.Name
			}
			if !used[name] && name != "_" && name != "." {
				spec.Name = ast.NewIdent("_")
			}
		}
	}
	var b bytes.Buffer
	format.Node(&b, fset, f) // of a parsed file; what went wrong the compiler says
	return b.String()
}
