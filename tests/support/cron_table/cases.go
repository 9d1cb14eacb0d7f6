package main

// byHand holds what somebody might write, and each corner of the grammar that the library's source shows.
var byHand = []string{
	// ordinary
	"30 1 * * 1", "* * * * *", "*/5 * * * *", "0 */12 * * *", "0 0 1 1 *", "15 14 1 * *", "0 22 * * 1-5", "23 0-20/2 * * *",
	"5 4 * * sun", "0 0,12 1 */2 *", "0 4 8-14 * *", "0 0 * * MON-FRI", "0 0 1 JAN,Jul *", "0 0 1 jan-mar/2 *", "59 23 31 12 *",
	// descriptors
	"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly", "@reboot", "@Daily", "@", "@daily ", " @daily",
	"@every", "@every ", "@fortnightly", "@daily @daily",
	// durations
	"@every 1h", "@every 90s", "@every 1h30m10s", "@every 1s", "@every 0", "@every -0", "@every +0", "@every 0s", "@every 1", "@every 500ms",
	"@every 1500ms", "@every 1.9s", "@every -5m", "@every +5m", "@every 1d", "@every 1w", "@every  1h", "@every 1h ", "@every 1H", "@every .5h",
	"@every 1.h", "@every .h", "@every .", "@every -", "@every +", "@every 1h-1m", "@every 1.5.5h", "@every 1e3s", "@every 1_000s", "@every 1µs",
	"@every 3000000μs", "@every 1us", "@every 2562047h47m16.854775807s", "@every 2562047h47m16.854775808s", "@every 2562048h",
	"@every -2562047h47m16.854775808s", "@every 9223372036854775807ns", "@every 9223372036854775808ns", "@every -9223372036854775808ns",
	"@every 18446744073709551616ns", "@every 0.1h", "@every 0.3333333333333333333333h", "@every 1.00000000000000000001s",
	"@every 0.000277777777777777777777777777h", "@every 99999999999999999999h", "@every 000000000000000000000000001m", "@every １h", "@every 1м",
	"@every 1h30", "@every\t1h", "@every 8760h",
	// stars and what they hide
	"?  ? ? ? ?", "*-5 * * * *", "*-foo * * * *", "*-1-2-3 * * * *", "?-9/7 * * * *", "*/1 * * * *", "*/59 * * * *", "*/60 * * * *", "*/61 * * * *",
	"*/9223372036854775807 * * * *", "*/9223372036854775808 * * * *", "*/0 * * * *", "*/-1 * * * *", "*/+2 * * * *", "*/ * * * *",
	"*/x * * * *", "*/*/2 * * * *", "** * * * *", "*5 * * * *", "5* * * * *", "? * ? * ?", "0 0 ?/2 * ?", "0 0 *-3/2 * *",
	// the star bit: and, or
	"0 0 13 * 5", "0 0 */1 * 1", "0 0 */2 * 1", "0 0 1-31 * 1", "0 0 1-31/1 * 1", "0 0 ? * 1", "0 0 1,* * 1", "0 0 13 * 0-6", "0 0 13 * */1",
	"0 0 13 * */2", "0 0 13 * *,1", "0 0 31 2 1", "0 0 1/1 * 1", "0 0 13 * ?", "0 0 13-13 * *", "0 5-5 * * *", "0 0 * 3-3 *", "0 0 * * 2-2", "7-7 * * * *",
	// numbers
	"+5 * * * *", "-5 * * * *", "05 007 * * *", "000000000000000000000000000005 * * * *", "5.0 * * * *", "0x5 * * * *", "1_0 * * * *", "٣ * * * *",
	"99999999999999999999 * * * *", "9223372036854775807 * * * *", "60 * * * *", "59 24 * * *", "0 24 * * *", "0 0 0 * *", "0 0 32 * *", "0 0 1 0 *",
	"0 0 1 13 *", "0 0 * * 7", "0 0 * * 5-7", "0 0 * * 0-7", "61 * * * *",
	// ranges and steps
	"1-5 * * * *", "5-1 * * * *", "0 0 * * 6-1", "0 0 * 10-5 *", "0 0 * * sat-sun", "0 0 * * sun-sat", "5-60 * * * *", "1-2-3 * * * *", "1- * * * *", "-1-2 * * * *",
	"5/15 * * * *", "5-20/15 * * * *", "5/ * * * *", "/5 * * * *", "5-/2 * * * *", "5/1/1 * * * *", "59/1 * * * *", "0 23/5 * * *", "0 0 31/2 * *",
	"0-59/7 * * * *", "5/0 * * * *", "3-3/3 * * * *", "0 0 * */5 *", "0 0 * * */3", "0 0 * mon *", "jan * * * *", "0 0 jan * *", "0 0 * * jan",
	"0 0 * january *", "0 0 * * monday", "0 0 * * mo", "0 0 * * FRİ", "0 0 * * frı", "0 0 * AUG-auG *", "0 0 * jan/3 *", "0 0 * jan/feb *",
	"0 0 * feb-5 *", "0 0 * * tue,3,fri-6",
	// lists
	"1,2,3 * * * *", "1,,3 * * * *", ",1 * * * *", "1, * * * *", ", * * * *", ",,, * * * *", "0 , * * *", "0 0 , * *", "0 0 * , *", "0 0 * * ,", "0 0 , * 1",
	"0 0 5 * ,", "0 0 , * ,", "1,x * * * *", "1,60 * * * *", "5,5,5 * * * *", "59,0 * * * *", "0-10,5-15 * * * *", ",1-5/2,, * * * *",
	// what other crons know
	"R R * * *", "H H * * *", "H/15 * * * *", "0 0 L * *", "0 0 L-3 * *", "0 0 15W * *", "0 0 LW * *", "0 0 * * 5L", "0 0 * * L5", "0 0 * * 5#2", "0 0 * * mon#1",
	"0 0 * * 1#1,3#2", "h(0-29) * * * *", "~ * * * *", "0~9 * * * *", "0 0 0 1 1 ?", "0 0 1 1 * 2030", "0 0 0 1 1 ? 2030", "P1D", "daily", "noon",
	// white space
	"", " ", "\t", "*", "* *", "* * * *", "* * * * * *", "  0   0 \t1 1\n*  ", "0\u00a00 1 1 *", "0\u20030 1 1 *", "0\u30000\u16801\u20281 *", "0\u001c0 1 1 *",
	"0\u200b0 1 1 *", "0\u00850 1 1 *", "0\v0\f1\r1 *", "0, 1 * * *", "0 0 1 1 * # new year", "\"0 0 * * *\"", "0 0 1 1 *;",
	// zones
	"TZ=UTC 0 5 * * *", "CRON_TZ=UTC 0 5 * * *", "TZ=Europe/Paris 0 5 * * *", "CRON_TZ=Europe/Paris   0 5 * * *  ", "CRON_TZ=Asia/Tokyo @daily",
	"CRON_TZ=Asia/Tokyo @daily ", "TZ=Europe/Paris @every 1h", "TZ=Mars/Olympus @every 1h", "TZ= 0 5 * * *", "CRON_TZ= 0 5 * * *", "TZ=Local 0 5 * * *",
	"TZ=", "CRON_TZ=", "TZ=UTC", "CRON_TZ=Europe/Paris", "TZ=UTC ", "TZ=UTC\t0 5 * * *", "TZ=UTC * * *", "TZ=Europe/Nowhere 0 5 * * *", "TZ=Nowhere",
	"tz=UTC 0 5 * * *", " TZ=UTC 0 5 * * *", "TZ =UTC 0 5 * * *", "TZ=UTC TZ=UTC 0 5 * * *", "TZ=../UTC 0 5 * * *", "TZ=/UTC 0 5 * * *",
	"TZ=\\UTC 0 5 * * *", "TZ=Europe 0 5 * * *", "TZ=Europe/ 0 5 * * *", "TZ=+02:00 0 5 * * *", "TZ=UTC+2 0 5 * * *", "TZ=Etc/GMT-2 0 5 * * *",
	"TZ=EST5EDT 0 5 * * *", "TZ=\"UTC\" 0 5 * * *", "CRON_TZ=TZ=UTC 0 5 * * *", "MAILTO=x 0 5 * * *", "TZ=Asia/Kathmandu 0 5 * * *",
	"TZ=Asia/Calcutta 30 5 * * *", "TZ=europe/nowhere 0 5 * * *", "TZ=UTC 61 * * * *", "TZ=UTC\u00a00 5 * * *", "TZ=UTC \u00a00 5 * * *\u3000",
	"TZ=UTC \u001c0 5 * * *",
}

// rare expressions come once in years, or never; the library gives up after five.
var rare = []string{
	"0 0 29 2 *", "0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 29 2 1", "0 0 29 2 */2", "59 23 29 2 ?", "0 0 29,30 feb *", "0 0 30,31 2,4 *",
	"CRON_TZ=Europe/Paris 0 0 29 2 *", "CRON_TZ=Europe/Paris 0 0 31 2 *", "CRON_TZ=Pacific/Kiritimati 0 0 29 2 *", "CRON_TZ=Pacific/Pago_Pago 0 23 28 2 *",
	"CRON_TZ=Asia/Tokyo 0 0 30 2 *", "CRON_TZ=America/New_York 0 0 1 1 *", "CRON_TZ=Australia/Sydney @yearly", "CRON_TZ=Asia/Tokyo @monthly",
}

// zone is a place and start times around the days on which its clocks are, or were, changed.
type zone struct {
	name   string
	starts []string
}

var zones = []zone{
	{"Europe/Paris", []string{"2025-03-29T22:30:00Z", "2025-03-30T00:59:59Z", "2025-10-25T23:15:00Z", "2025-10-26T00:30:00Z", "2025-10-26T01:10:30Z"}},
	{"America/New_York", []string{"2025-03-09T03:30:00Z", "2025-03-09T06:59:00Z", "2025-11-02T03:30:00Z", "2025-11-02T05:10:00Z", "2025-11-02T06:10:00Z"}},
	{"Europe/London", []string{"2025-03-29T23:30:00Z", "2025-03-30T00:40:00Z", "2025-10-25T23:40:00Z", "2025-10-26T00:20:00Z", "2025-10-26T01:20:00Z"}},
	{"Australia/Lord_Howe", []string{"2024-10-05T13:10:00Z", "2024-10-05T15:25:00Z", "2024-10-05T15:40:00Z", "2025-04-05T14:40:00Z", "2025-04-05T15:10:00Z"}},
	{"America/Sao_Paulo", []string{"2018-11-03T12:00:00Z", "2018-11-04T02:30:00Z", "2018-02-17T12:00:00Z", "2018-02-18T01:30:00Z", "2018-02-18T02:30:00Z"}},
	{"America/Asuncion", []string{"2023-09-05T12:00:00Z", "2023-10-01T03:30:00Z", "2023-10-02T03:30:00Z", "2024-03-24T02:30:00Z", "2024-03-24T03:30:00Z"}},
	{"America/Havana", []string{"2025-03-08T12:00:00Z", "2025-03-09T04:30:00Z", "2025-11-01T12:00:00Z", "2025-11-02T04:30:00Z", "2025-11-02T05:30:00Z"}},
	{"Atlantic/Azores", []string{"2025-03-29T12:00:00Z", "2025-03-30T00:30:00Z", "2025-10-25T12:00:00Z", "2025-10-26T00:30:00Z", "2025-10-26T01:30:00Z"}},
	{"Antarctica/Troll", []string{"2025-03-30T00:30:00Z", "2025-10-26T00:30:00Z"}},
	{"Africa/Casablanca", []string{"2025-02-22T12:00:00Z", "2025-04-05T12:00:00Z"}},
	{"Asia/Kathmandu", []string{"1985-12-31T12:00:00Z", "2025-01-31T18:20:00Z"}},
	{"Africa/Monrovia", []string{"1972-01-06T12:00:10Z", "1972-01-07T00:40:00Z"}},
}

var acrossTransitions = []string{
	"30 2 * * *", "0 * * * *", "*/20 1-3 * * *", "0 0 * * *", "30 0 * * *", "45 1 * * *", "15 4 * * *", "59 23 * * *", "0 5 * * 0",
	"30 1 2 * *", "0 0 1 * *", "0 12 * 4,11 *", "10 3 26 10 *", "* 2 * * sun",
}
