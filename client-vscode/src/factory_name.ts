// The name of a function of the user's: module, colon, function.
export const FACTORY = "module:function, as recommender.models:build";

const NAME = /^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$/;

export function isFactory(text: string): boolean {
  return NAME.test(text);
}
