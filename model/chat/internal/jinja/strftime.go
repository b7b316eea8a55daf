package jinja

import (
	"fmt"
	"strings"
	"time"
)

// strftime writes a time as C's strftime does in the C locale. The time has no zone, as datetime.now() has none.
func strftime(st *state, t time.Time, format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		flag := byte(0)
		if strings.IndexByte("-_0^#", format[i]) >= 0 && i+1 < len(format) {
			flag = format[i]
			i++
		}
		s := timePart(t, format[i])
		if s == "" && strings.IndexByte("zZ", format[i]) < 0 {
			b.WriteString("%" + string(format[i]))
			continue
		}
		switch flag {
		case '-':
			if s = strings.TrimLeft(s, "0 "); s == "" {
				s = "0"
			}
		case '_':
			for j := 0; j < len(s)-1 && s[j] == '0'; j++ {
				s = s[:j] + " " + s[j+1:]
			}
		case '0':
			s = strings.ReplaceAll(s, " ", "0")
		case '^', '#':
			s = strings.ToUpper(s)
		}
		st.charge(len(s))
		b.WriteString(s)
	}
	return b.String()
}

// layouts are the parts that Go's time package writes.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'm': "01", 'M': "04",
	'p': "PM", 'S': "05", 'y': "06", 'Y': "2006", 'F': "2006-01-02", 'T': "15:04:05", 'X': "15:04:05", 'D': "01/02/06", 'x': "01/02/06",
	'R': "15:04", 'r': "03:04:05 PM", 'c': "Mon Jan _2 15:04:05 2006", 'P': "pm", 'j': "002",
}

func timePart(t time.Time, c byte) string {
	if l, ok := layouts[c]; ok {
		return t.Format(l)
	}
	monday := (int(t.Weekday()) + 6) % 7
	week := func(weekday int) int { return (t.YearDay() - 1 + 7 - weekday) / 7 }
	year, iso := t.ISOWeek()
	switch c {
	case '%':
		return "%"
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000)
	case 'k':
		return fmt.Sprintf("%2d", t.Hour())
	case 'l':
		return fmt.Sprintf("%2d", (t.Hour()+11)%12+1)
	case 'C':
		return fmt.Sprintf("%02d", t.Year()/100)
	case 's':
		return fmt.Sprint(t.Unix())
	case 'u':
		return fmt.Sprint(monday + 1)
	case 'w':
		return fmt.Sprint(int(t.Weekday()))
	case 'U':
		return fmt.Sprintf("%02d", week(int(t.Weekday())))
	case 'W':
		return fmt.Sprintf("%02d", week(monday))
	case 'V':
		return fmt.Sprintf("%02d", iso)
	case 'G':
		return fmt.Sprint(year)
	case 'g':
		return fmt.Sprintf("%02d", year%100)
	}
	return ""
}
