package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

type bounds struct {
	low, high int
	names     []string
}

var fieldBounds = []bounds{
	{0, 59, nil},
	{0, 23, nil},
	{1, 31, nil},
	{1, 12, strings.Fields("jan feb MAR apr May jun jul aug sep oct nov Dec")},
	{0, 6, strings.Fields("sun Mon tue WED thu fri sat")},
}

// item is one element of a list. It strays a little over the bounds now and then.
func item(random *rand.Rand, field bounds, stray bool) string {
	one := func() int {
		if stray && random.IntN(8) == 0 {
			return field.high + 1 + random.IntN(2)
		}
		return field.low + random.IntN(field.high-field.low+1)
	}
	spell := func(number int) string {
		if index := number - field.low; field.names != nil && index < len(field.names) && random.IntN(3) == 0 {
			return field.names[index]
		}
		return fmt.Sprint(number)
	}
	low, high := one(), one()
	if low > high && !(stray && random.IntN(3) == 0) {
		low, high = high, low
	}
	step := 1 + random.IntN(field.high-field.low+1)
	switch random.IntN(9) {
	case 0, 1:
		return "*"
	case 2:
		return "?"
	case 3:
		return fmt.Sprintf("*/%d", step)
	case 4:
		return spell(low) + "-" + spell(high)
	case 5:
		return fmt.Sprintf("%s-%s/%d", spell(low), spell(high), step)
	case 6:
		return fmt.Sprintf("%s/%d", spell(low), step)
	default:
		return spell(low)
	}
}

func fields(random *rand.Rand, stray bool) string {
	parts := make([]string, 0, len(fieldBounds))
	for _, field := range fieldBounds {
		items := []string{item(random, field, stray)}
		for random.IntN(4) == 0 {
			items = append(items, item(random, field, stray))
		}
		parts = append(parts, strings.Join(items, ","))
	}
	return strings.Join(parts, " ")
}

// damage replaces, drops or inserts one character: most results are refused, and some are surprisingly not.
func damage(random *rand.Rand, expression string) string {
	const letters = "0159*?-/,+ LWRH#@=.\t"
	at, letter := random.IntN(len(expression)), string(letters[random.IntN(len(letters))])
	switch random.IntN(3) {
	case 0:
		return expression[:at] + letter + expression[at+1:]
	case 1:
		return expression[:at] + expression[at+1:]
	default:
		return expression[:at] + letter + expression[at:]
	}
}

func generate(random *rand.Rand, add func(string, []time.Time)) {
	starts := func(count int) []time.Time {
		result := make([]time.Time, count)
		for i := range result {
			result[i] = time.Date(2015, 1, 1, 0, 0, random.IntN(10*365*86400), 0, time.UTC)
		}
		return result
	}
	for range 200 {
		add(fields(random, false), starts(2))
	}
	for range 120 {
		add("CRON_TZ="+zones[random.IntN(len(zones))].name+" "+fields(random, false), starts(2))
	}
	for range 80 {
		add(fields(random, true), starts(1))
	}
	for range 120 {
		add(damage(random, fields(random, false)), starts(1))
	}
	units := strings.Fields("ns us µs μs ms s m h d")
	for range 50 {
		duration := ""
		for range 1 + random.IntN(3) {
			duration += fmt.Sprint(random.IntN(100))
			if random.IntN(3) == 0 {
				duration += fmt.Sprintf(".%d", random.IntN(1000))
			}
			duration += units[random.IntN(len(units))]
		}
		add("@every "+duration, starts(1))
	}
}
