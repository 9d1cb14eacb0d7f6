// Command crontable asks robfig/cron v3.0.1, the parser behind CDI's schedules, what it makes of a few hundred
// expressions and writes the answers to tests/unit/cron_table.json. dataimportcron/schedule.py is held to them.
//
// README: to make the table again, byte for byte:  cd tests/support/cron_table && go run .
//
// It refuses to judge: whatever the library says, a panic included, is what the table holds. Start times in zones that
// change their clocks lie in the past, a few of the rare expressions apart, so that the table does not depend on the
// time zone database's release.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"strings"
	"time"
	_ "time/tzdata" // a machine without a zone database gets the same table

	"github.com/robfig/cron/v3"
)

const (
	target  = "../../unit/cron_table.json"
	command = "cd tests/support/cron_table && go run ."
	layout  = "2006-01-02T15:04:05.999999Z"
	ticks   = 3
)

// run is one start time and the ticks that follow it; nil stands for Go's zero time: no tick within five years.
type run struct {
	after string
	next  []*string
}

// parse calls the library and turns its one known panic, a TZ= without a space behind it, into an error.
func parse(expression string) (schedule cron.Schedule, err error) {
	defer func() {
		if failure := recover(); failure != nil {
			err = fmt.Errorf("panic: %v", failure)
		}
	}()
	return cron.ParseStandard(expression)
}

// refusal is the library's message, without what the operating system adds about a zone's file.
func refusal(err error) string {
	message := err.Error()
	if strings.HasPrefix(message, "provided bad location ") {
		message, _, _ = strings.Cut(message, ": ")
	}
	return message
}

func follow(schedule cron.Schedule, after time.Time) run {
	result := run{after: after.Format(layout)}
	for at := after; len(result.next) < ticks; {
		at = schedule.Next(at)
		if at.IsZero() {
			result.next = append(result.next, nil)
			break
		}
		stamp := at.UTC().Format(layout)
		result.next = append(result.next, &stamp)
	}
	return result
}

// row is [expression, refusal or null, [[after, tick, ...], ...]] on one line.
func row(expression string, starts []time.Time) []byte {
	runs := [][]*string{}
	var fault *string
	if schedule, err := parse(expression); err != nil {
		message := refusal(err)
		fault = &message
	} else {
		for _, start := range starts {
			answer := follow(schedule, start)
			runs = append(runs, append([]*string{&answer.after}, answer.next...))
		}
	}
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode([]any{expression, fault, runs}); err != nil {
		log.Fatal(err)
	}
	return bytes.TrimSpace(line.Bytes())
}

func times(stamps ...string) []time.Time {
	result := make([]time.Time, 0, len(stamps))
	for _, stamp := range stamps {
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			log.Fatal(err)
		}
		result = append(result, at.UTC())
	}
	return result
}

func main() {
	seen := map[string]bool{}
	var lines [][]byte
	add := func(expression string, starts []time.Time) {
		if !seen[expression] {
			seen[expression] = true
			lines = append(lines, row(expression, starts))
		}
	}
	ordinary := times("2026-01-31T23:59:59Z", "2026-02-28T12:34:56.789Z", "2027-12-31T23:59:00Z")
	for _, expression := range byHand {
		add(expression, ordinary)
	}
	for _, expression := range rare {
		add(expression, times("2023-02-28T23:59:59Z", "2024-02-29T00:00:00Z", "2096-02-29T00:00:00Z", "2098-12-31T23:59:58Z", "2098-12-31T23:59:59.5Z"))
	}
	for _, place := range zones {
		for _, fields := range acrossTransitions {
			add("CRON_TZ="+place.name+" "+fields, times(place.starts...))
		}
	}
	generate(rand.New(rand.NewPCG(3, 1)), add)

	var table bytes.Buffer
	fmt.Fprintf(&table, "{\"made_by\": \"robfig/cron v3.0.1, cron.ParseStandard\",\n\"made_with\": %q,\n", command)
	fmt.Fprintf(&table, "\"columns\": \"expression, refusal or null, [[after, tick, tick, tick], ...]; a null tick: never\",\n\"rows\": [\n")
	table.Write(bytes.Join(lines, []byte(",\n")))
	table.WriteString("\n]}\n")
	if err := os.WriteFile(target, table.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d rows, %d bytes\n", len(lines), table.Len())
}
