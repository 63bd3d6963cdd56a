//! Words that say nothing about what a call is about: grammar, and the small change of conversation.
//!
//! Written folded (see [`crate::text`]): lower case, no accents, no apostrophes.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::language::Language;
use crate::text::Word;

const EN: &str = "a about above after again against ago all almost along already also although always am among an and another any \
    anybody anyone anything anyway are arent around as ask asked at away back be became because become been before behind being below \
    between both but by call called came can cannot cant come comes coming could couldnt course d did didnt do does doesnt doing done dont \
    down during each either else enough even ever every everyone everything exactly far few find fine first for from further gave get gets \
    getting give given gives giving go goes going gone gonna good got great had hadnt has hasnt have havent having he hello her here hers \
    herself hey hi him himself his hold how however i id if ill im in indeed instead into is isnt it its itself ive just keep kind know \
    known last later least less let lets like little ll look looking lot lots m made make makes making many may maybe me mean means mhm \
    might mine moment more morning most much must my myself need needs neither never next no nobody none nor not nothing now of off often oh ok \
    okay on once one ones only onto or other others our ours out over own part perhaps please possible probably put quite rather re \
    really right s said same saw say saying says see seem seems seen sent shall she should shouldnt since so some somebody someone something \
    sometimes soon sorry speak still such sure t take taken takes taking talk tell than thank thanks that thats the their theirs them \
    themselves then there theres therefore these they theyre theyve thing things think this those though through till to today together told \
    too took toward tried try trying two uh uhm um under until up upon us use used using very want wanted wants was wasnt way we welcome well \
    went were werent weve what whatever whats when where wheres whether which while who whole whom whos whose why will wish with within \
    without wont would wouldnt wow yeah yep yes yet you youd youll your youre yours yourself yourselves youve";

const ES: &str = "a aca ademas ademas adios ah ahi ahora al algo alguien algun alguna algunas alguno algunos alla alli ambos ante antes \
    aquel aquella aquellas aquello aquellos aqui asi aun aunque bajo bastante bien bueno buenos buenas cada casi cierto claro como con conmigo \
    contigo contra cosa cosas creo cual cuales cualquier cuando cuanta cuantas cuanto cuantos cuya cuyo da dado dan dar de debe deben debo \
    decir dejar del demas demasiado dentro desde despues di dia dias dice dicen dicho digo dijo donde dos durante e eh el ella ellas ello ellos \
    en encima entonces entre era eramos eran eres es esa esas ese eso esos esta estaba estaban estado estamos estan estar estara estas este \
    esto estos estoy favor fin fue fuera fueron fui ganas gracias gustaria ha haber habia habian hace hacen hacer hacia haciendo hago han \
    hasta hay haya he hecho hemos hola hoy igual ir la las le les lo los luego mas me mejor menos mi mia mias mientras mio mios mis misma \
    mismas mismo mismos momento mucha muchas mucho muchos muy nada nadie necesita necesitamos necesito ni ningun ninguna ninguno no nos \
    nosotras nosotros nuestra nuestras nuestro nuestros nunca o oh ok os otra otras otro otros para parece pero poca pocas poco pocos podemos \
    podria podrian poner por porque posible primera primero puede pueden puedo pues que quien quienes quiere quieren quiero quisiera sabe saber \
    se sea sean segun senor senora senorita ser seria si sido siempre siendo siguiente sin sino sobre solo somos son soy su sus suya suyas \
    suyo suyos tal tales tambien tampoco tan tanta tantas tanto tantos tarde tardes te tendria tener tenemos tengo ti tiene tienen toda todas \
    todavia todo todos tras traves tu tus tuya tuyo u un una unas uno unos usted ustedes va vale vamos van varias varios ve vengo ver verdad vez \
    veces vosotros voy vuestra vuestro y ya yo";

const DE: &str = "ab aber ach alle allem allen aller alles als also am an ander andere anderem anderen anderer anderes anders auch auf aus \
    ausserdem bei beide beiden beim bereits besonders bevor bin bis bisher bist bitte brauche brauchen bzw da dabei dadurch dafur dagegen daher dahin \
    damals damit danach daneben dank danke dann daran darauf daraus darf darin daruber darum darunter das dass dasselbe davon davor dazu dein \
    deine deinem deinen deiner deines dem den denen denn dennoch der deren derer derselbe des deshalb dessen desto deswegen dich die dies diese \
    diesem diesen dieser dieses dir doch dort drei du durch durfen ebenfalls eben ein eine einem einen einer eines einfach einige einigen einiger einiges \
    einmal er erst erste ersten es etwa etwas euch euer eure eurem euren eurer fast ganz ganze gar geben geht gegen gehen gemacht genau gerade gern \
    gerne gesagt geworden gibt gleich gut gute guten haben habe haben hallo hat hatte hatten hattest heisst her herr herrn heute hier hin hinter \
    hm ich ihm ihn ihnen ihr ihre ihrem ihren ihrer ihres im immer in indem ins irgendwie ist ja jede jedem jeden jeder jedes jedoch jemand jene jenem \
    jenen jener jenes jetzt kann kannst kein keine keinem keinen keiner keines kommen kommt konnen konnte konnten konnten kurz lang lassen leider letzte \
    machen macht mal man manche manchem manchen mancher manches mehr mein meine meinem meinen meiner meines mich mir mit mochte mochten moglich moment \
    morgen muss mussen musste nach nachdem nachher nachste nah naturlich neben nehmen nein nicht nichts nie niemand noch nochmal nun nur ob oben oder \
    oft oh ohne okay ok paar per sagen sagt schon sehen sehr sein seine seinem seinen seiner seines seit seitdem selbst sich sicher sie sind so sobald \
    sofort sogar solche solchem solchen solcher solches soll sollen sollte sollten sondern sonst sowie spater statt tag uber um und uns unser unsere unserem \
    unseren unserer unter viel viele vielen vielleicht vom von vor vorher wahrend wann war waren warst warte warten warum was wegen weil weiss \
    weiter welche welchem welchen welcher welches wenig weniger wenn wer werde werden wessen weshalb wie wieder wieso will wir wird wirklich wissen \
    wo wohl wollen wollte wollten worden wurde wurden wurde zu zuerst zum zur zusammen zwar zwei zwischen";

const FR: &str = "a afin ah ai aime ainsi alors apres as assez attendez au aucun aucune aujourdhui auquel aura aurai aurais aurait aussi autre autres aux auxquels \
    avaient avais avait avant avec avez aviez avions avoir avons bah beaucoup bien bon bonjour bonne bonsoir bref c ca car ce ceci cela celle celles celui \
    cependant ces cet cette ceux chaque chez chose choses ci comme comment compris contre d dans de deja depuis dernier derniere des desquels dessous \
    dessus deux devant devez devoir devrait dire dis dit dites doit doivent donc donner dont du durant elle elles en encore enfin ensuite entre \
    environ est et etaient etais etait etant ete etes etre eu euh eux faire fais fait faites faut fois font h hein hier hors hui ici il ils j jamais je \
    juste jusqu jusque l la laquelle le lequel les lesquels leur leurs lors lorsque lui m ma madame mademoiselle maintenant mais mal malgre me meme \
    memes merci mes mettre mieux mis moi moins moment mon monsieur n ne ni non nos notre nous o on ont ou oui ouais par parce parfois parler parmi \
    pas passe pendant petit petite peu peut peuvent peux plait plus plusieurs plutot point pour pourquoi pourra pourrais pourrait pouvez pouvoir \
    premier premiere prendre pres puis puisque qu quand quant que quel quelle quelles quelqu quelque quelques quels qui quoi quoique rien s sa sais \
    sait sans sauf savoir se selon sera serai serais serait ses si sien soi soient sois soit sommes son sont souhaite sous souvent suis sur surtout t ta \
    tant te tel telle tellement tels tes toi ton toujours tous tout toute toutefois toutes tres trop tu un une va vais vas venir vers veut veux voici \
    voila voir vois vont vos votre voudrais voulez vouloir vous vraiment vu y";

fn set(list: &'static str) -> HashSet<&'static str> {
    list.split_whitespace().collect()
}

static SETS: LazyLock<[HashSet<&'static str>; 4]> = LazyLock::new(|| [set(EN), set(ES), set(DE), set(FR)]);

/// Whether a word says nothing by itself: a stop word, a bare number, or one or two letters.
pub(crate) fn is_stop_word(word: &Word, language: Language) -> bool {
    let folded = word.folded.as_str();
    folded.chars().nth(2).is_none()
        || folded.chars().all(|c| c.is_numeric() || matches!(c, '.' | ','))
        || SETS[language as usize].contains(folded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::fold;

    #[test]
    fn every_stop_word_is_written_as_words_are_folded() {
        for list in [EN, ES, DE, FR] {
            for word in list.split_whitespace() {
                assert_eq!(fold(word), word);
            }
        }
    }
}
