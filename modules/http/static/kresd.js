/* SPDX-License-Identifier: GPL-3.0-or-later
 * Draws what the WebSocket /stats tells once a second. */
'use strict';
(function () {
	const KEEP = 120; // frames
	const LATENCY = ['1ms', '10ms', '50ms', '100ms', '250ms', '500ms', '1000ms', '1500ms', 'slow'];
	const COLOURS = ['#1d7a3a', '#4c9a2a', '#8fb339', '#c9b81d', '#e0a100', '#e07b00', '#d9501e', '#b3261e', '#6b1020'];
	const frames = [];
	const byId = (id) => document.getElementById(id);
	const seen = new Map(); // pid -> { facts, time }

	function series(key) { return frames.map((f) => f[key] || 0); }

	function draw() {
		const canvas = byId('graph'), g = canvas.getContext('2d');
		const stacked = byId('stacked').checked;
		const keys = stacked ? LATENCY.map((k) => 'answer.' + k) : [byId('metric').value];
		const all = keys.map(series);
		const totals = frames.map((_, i) => all.reduce((sum, s) => sum + s[i], 0));
		const top = Math.max(1, ...totals), w = canvas.width / (KEEP - 1), h = canvas.height - 10;
		g.clearRect(0, 0, canvas.width, canvas.height);
		const base = frames.map(() => 0);
		all.forEach((values, n) => {
			g.fillStyle = stacked ? COLOURS[n] : '#1c6dd0';
			g.beginPath();
			values.forEach((v, i) => g.lineTo(i * w, canvas.height - (base[i] + v) / top * h));
			for (let i = values.length - 1; i >= 0; i--) { g.lineTo(i * w, canvas.height - base[i] / top * h); }
			g.fill();
			values.forEach((v, i) => { base[i] += v; });
		});
		const legend = byId('legend');
		legend.textContent = '';
		keys.forEach((key, n) => {
			const item = document.createElement('span'), mark = document.createElement('i');
			mark.style.background = stacked ? COLOURS[n] : '#1c6dd0';
			item.append(mark, key + ': ' + (all[n][all[n].length - 1] || 0));
			legend.append(item);
		});
	}

	function row(body, cells, state) {
		const tr = document.createElement('tr');
		cells.forEach((text) => { const td = document.createElement('td'); td.textContent = text; tr.append(td); });
		if (state) { tr.lastChild.className = state; }
		body.append(tr);
	}

	function showWorkers(workers, time) {
		for (const [pid, facts] of Object.entries(workers || {})) {
			const last = seen.get(pid);
			seen.set(pid, { facts, time, before: last ? last.facts : facts });
		}
		const body = byId('workers');
		body.textContent = '';
		for (const [pid, { facts, time: at, before }] of seen) {
			const alive = time - at < 5;
			row(body, [pid, ((facts.usertime - before.usertime) * 100).toFixed(0) + ' %, ' +
				((facts.systime - before.systime) * 100).toFixed(0) + ' %', (facts.rss / 1048576).toFixed(1) + ' MiB',
				facts.pagefaults, facts.queries, alive ? 'Healthy' : 'Dead'], alive ? 'healthy' : 'dead');
		}
	}

	function showPlaces(upstreams) {
		byId('upstreams').hidden = !upstreams;
		const body = byId('places');
		body.textContent = '';
		for (const [addr, facts] of Object.entries(upstreams || {})) {
			const rtts = Array.isArray(facts) ? facts : facts.data;
			row(body, [addr, facts.country || '', rtts[0]]);
		}
	}

	function offer(keys) {
		const select = byId('metric');
		if (select.options.length > 0) { return; }
		keys.sort().forEach((key) => select.add(new Option(key, key, key === 'answer.total', key === 'answer.total')));
	}

	function listen() {
		const url = (location.protocol === 'https:' ? 'wss://' : 'ws://') + location.host + '/stats';
		const socket = new WebSocket(url, 'json');
		socket.onmessage = (message) => {
			const data = JSON.parse(message.data);
			frames.push(data ? data.stats : {});
			if (frames.length > KEEP) { frames.shift(); }
			if (data) {
				offer(Object.keys(data.stats));
				showWorkers(data.workers, data.time);
				showPlaces(data.upstreams);
			}
			draw();
		};
		socket.onclose = () => setTimeout(listen, 2000);
	}

	byId('metric').onchange = draw;
	byId('stacked').onchange = draw;
	listen();
})();
