(() => {
  const { ranksPerNode, tokens } = JSON.parse(document.getElementById('data').textContent);
  const drawings = [...document.querySelectorAll('svg[data-mode]')];
  const form = document.querySelector('.pick');
  const path = document.querySelector('.path');
  const hint = path.textContent;
  const { rank: rankField, token: tokenField, clear } = form.elements;
  const nodeOf = (rank) => Math.floor(rank / ranksPerNode);
  const list = (ranks) => (ranks.length === 1 ? `rank ${ranks[0]}` : `ranks ${ranks.join(', ')}`);

  function focusRank(rank) {
    for (const svg of drawings) {
      svg.classList.toggle('focused', rank !== undefined);
      for (const ribbon of svg.querySelectorAll('.ribbon')) {
        ribbon.classList.toggle('on', ribbon.dataset.from === rank || ribbon.dataset.to === rank);
      }
      for (const label of svg.querySelectorAll('.rank'))
        label.classList.toggle('on', label.dataset.rank === rank);
    }
  }

  function curve(x1, y1, x2, y2) {
    const bend = (x2 - x1) * 0.45;
    return `<path d="M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}"/><circle cx="${x2}" cy="${y2}" r="3.5"/>`;
  }

  function showToken(source, number) {
    const { experts, ranks } = tokens[source][number];
    const hops = ranks.map((rank) => ({
      rank,
      forwarder: nodeOf(rank) * ranksPerNode + (source % ranksPerNode),
    }));
    const forwarders = [...new Set(hops.map(({ forwarder }) => forwarder))];
    for (const svg of drawings) {
      const { xs, centres } = JSON.parse(svg.dataset.anchors);
      const curves =
        svg.dataset.mode === 'direct'
          ? ranks.map((rank) => curve(xs[0], centres[source], xs[1], centres[rank]))
          : [
              ...forwarders.map((forwarder) => curve(xs[0], centres[source], xs[1], centres[forwarder])),
              ...hops.map(({ rank, forwarder }) => curve(xs[1], centres[forwarder], xs[2], centres[rank])),
            ];
      svg.classList.add('focused');
      for (const ribbon of svg.querySelectorAll('.ribbon')) ribbon.classList.remove('on');
      svg.querySelector('.token').innerHTML = curves.join('');
    }
    const crossing = ranks.filter((rank) => nodeOf(rank) !== nodeOf(source)).length;
    const nodes = forwarders.filter((forwarder) => forwarder !== source);
    path.textContent = ranks.length
      ? `Token ${number} of rank ${source} chose experts ${experts.join(', ')}, on ${list(ranks)}. Direct: ${crossing} messages between nodes. Hierarchical: ${nodes.length}${nodes.length ? `, through ${list(nodes)}` : ''}.`
      : `Token ${number} of rank ${source} chose no expert.`;
  }

  function reset() {
    focusRank(undefined);
    for (const svg of drawings) svg.querySelector('.token').innerHTML = '';
    path.textContent = hint;
  }

  function fillTokens() {
    tokenField.innerHTML = tokens[rankField.value].map((_, number) => `<option>${number}</option>`).join('');
  }

  const picked = () =>
    tokens[rankField.value].length && showToken(Number(rankField.value), Number(tokenField.value));
  rankField.addEventListener('change', () => {
    reset();
    fillTokens();
    picked();
  });
  tokenField.addEventListener('change', picked);
  clear.addEventListener('click', reset);
  for (const label of document.querySelectorAll('svg .rank')) {
    const on = () => {
      reset();
      focusRank(label.dataset.rank);
    };
    label.addEventListener('pointerenter', on);
    label.addEventListener('focus', on);
    label.addEventListener('pointerleave', reset);
    label.addEventListener('blur', reset);
  }
  fillTokens();
  form.hidden = false;
  form.addEventListener('submit', (event) => event.preventDefault());
  const wanted = /^#(\d+)\.(\d+)$/.exec(location.hash);
  if (wanted && tokens[wanted[1]]?.[wanted[2]]) {
    rankField.value = wanted[1];
    fillTokens();
    tokenField.value = wanted[2];
    picked();
  }
})();
