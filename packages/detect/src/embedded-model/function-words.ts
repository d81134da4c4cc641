/** English words that carry grammar more than subject. */
export const functionWords: ReadonlySet<string> = new Set(
  (
    'the a an and or but if then than that this these those of in on at to for from by with without about as into through after ' +
    'before over under between out up down off again i you he she it we they me him her us them my your his its our their mine ' +
    'yours be am is are was were been being have has had do does did will would shall should can could may might must not no nor ' +
    'so too very just there here when where why how what which who whom all any both each few more most other some such only own ' +
    'same once also even still yet however while because although though'
  ).split(' '),
);
