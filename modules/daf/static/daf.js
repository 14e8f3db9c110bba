/* SPDX-License-Identifier: GPL-3.0-or-later
 * The section of rules on the web page: list, add, switch, remove. */
'use strict';
(function () {
	const place = document.getElementById('daf-rules');
	const table = document.createElement('table'), form = document.createElement('form');
	const input = document.createElement('input'), button = document.createElement('button');
	const problem = document.createElement('p');
	input.placeholder = 'qname = ads.example deny';
	input.size = 60;
	button.textContent = 'Add';
	problem.className = 'dead';
	form.append(input, button);
	place.append(form, problem, table);

	async function call(method, path, body) {
		const reply = await fetch(path, { method, body });
		problem.textContent = reply.ok ? '' : await reply.text();
		return reply.ok ? reply.json() : null;
	}

	function action(text, run) {
		const one = document.createElement('button');
		one.textContent = text;
		one.onclick = async () => { await run(); show(); };
		return one;
	}

	function add(rule) {
		const tr = table.insertRow();
		tr.insertCell().textContent = rule.id;
		tr.insertCell().textContent = rule.info;
		const count = tr.insertCell();
		count.textContent = rule.count;
		count.id = 'daf-count-' + rule.id;
		const buttons = tr.insertCell();
		buttons.append(
			action(rule.active ? 'Suspend' : 'Resume',
				() => call('PATCH', 'daf/' + rule.id + '/active/' + !rule.active)),
			action('Remove', () => call('DELETE', 'daf/' + rule.id)));
	}

	async function show() {
		const rules = await call('GET', 'daf');
		table.textContent = '';
		if (rules) { Object.values(rules).forEach(add); }
	}

	form.onsubmit = async (event) => {
		event.preventDefault();
		if (await call('POST', 'daf', input.value)) { input.value = ''; }
		show();
	};

	const socket = new WebSocket((location.protocol === 'https:' ? 'wss://' : 'ws://') + location.host + '/daf', 'json');
	socket.onmessage = (message) => {
		for (const [id, count] of Object.entries(JSON.parse(message.data))) {
			const cell = document.getElementById('daf-count-' + id);
			if (cell) { cell.textContent = count; }
		}
	};
	show();
})();
