//! German.

use super::Lists;

pub(super) const LISTS: Lists = Lists {
    weights: &[
        (
            3,
            "ausgezeichnet ausserordentlich begeistert begeisterung brillant exzellent fabelhaft fantastisch genial grandios grossartig herausragend hervorragend \
             hinreissend hochzufrieden klasse liebe lieben perfekt phanomenal spitze spitzenmassig sensationell super toll traumhaft uberglucklich uberragend \
             unubertroffen vollkommen vorzuglich wunderbar wundervoll wunderschon einwandfrei tadellos makellos",
        ),
        (
            2,
            "angenehm angetan anerkennung aufmerksam beeindruckend beeindruckt bedanke bequem besser beste besten bestens danke dankbar dankeschon dank \
             effizient ehrlich empfehle empfehlen empfehlenswert entgegenkommend entzuckt erfolg erfolgreich erfreulich erfreut erleichtert fair fleissig freude \
             freue freuen freundlich freundlichen freundlichkeit froh frohlich gefallen gefallt geholfen gelungen gemutlich geniessen genossen gern gerne geschatzt \
             glucklich gluckwunsch gratuliere grosszugig gut gute guten guter gutes herzlich herzlichen hilfsbereit hoflich hubsch ideal interessant kompetent komfortabel \
             kulant lecker liebenswurdig liebevoll lob loben lustig mag meisterhaft mogen nett nette netten optimal prima problemlos professionell punktlich \
             reibungslos respektvoll ruhig sauber schatze schone schonen sehr_gut sorgfaltig spass stolz sympathisch tuchtig uberzeugt vergnugen verlasslich \
             vertrauenswurdig vorbildlich vorteil warmherzig wertvoll willkommen wohlgefuhlt zauberhaft zufrieden zufriedenheit zuverlassig bravo geduldig \
             gluck geklappt klappt geschenk unkompliziert gastfreundlich",
        ),
        (
            1,
            "abgemacht akzeptabel akzeptieren angemessen aufklaren aufwerten ausreichend begrussen behilflich beheben behoben bereit bestatigt bestatigen \
             bevorzugen brauchbar chance deutlich eindeutig einfach einverstanden entschadigung entspannt erfullt erhalten erledigt erledigen ermassigt ermassigung \
             ersetzen erstatten erstattet erstattung flexibel frei frisch funktioniert garantie garantieren garantiert gelassen gelost gemeinsam gerecht gesund gewinn \
             gunstig gutschein gutschrift helfe helfen hilfe hilft hilfreich hoffe hoffen hoffentlich hoffnung immerhin inklusive interesse interessiert kein_problem \
             keine_ursache klaren klarheit korrekt kostenlos leicht leistung losung losen lohnt machbar modern nutzlich ok okay ordentlich \
             ordnung passend passt positiv praktisch preiswert rabatt reparieren repariert respekt richtig ruckerstattung ruhe schaffen schnell schnelle selbstverstandlich \
             sicher sicherheit sinnvoll sparen stabil stimmt termingerecht treu uberraschung unterstutzen unterstutzung verbessern verbessert verbesserung \
             verfugbar versprechen versprochen verstandlich verstandnis verstanden verstehe verstehen vertrauen vorteilhaft warm wunsch wunschen zugesagt zuversichtlich zusagen \
             alles_klar in_ordnung",
        ),
        (
            -1,
            "abgelaufen abgelehnt ablehnen absage absagen abgesagt ausgefallen bedauere bedauern bedenken befurchte befurchten belastend besorgt bittere \
             durcheinander einsam eng entschuldige entschuldigen entschuldigung enge falschlich fehlen fehlend fehlt fehler fehlerhaft fraglich gebuhr gestresst hektik hektisch hindernis \
             ignorieren kalt kaputtgegangen knapp kompliziert kosten krank laut lange_warten langsam larm leer leid leider mahnung mangel mangelhaft missverstandnis mude \
             muhsam nachteil negativ nervos notfall peinlich pech probleme problem ratlos riskant risiko ruhestorung schade schlecht_verbunden schmutz schuld schwach schwer schwierig \
             schwierigkeiten seltsam sorge sorgen sorry storen storend storniert stornieren stornierung storung stress stornogebuhr teuer teure traurig trauer tut_leid \
             umstandlich unangebracht unangemeldet unangenehm unbekannt unbequem unerwartet ungeduldig ungenau ungewiss unklar unmoglich unruhig unsicher unterbrochen unubersichtlich \
             unvollstandig unwohl verdacht verlegen vergessen verpasst verschieben verschoben verspatet verspatung verstorend verwirrend verwirrt verwirrung verzogerung \
             verzogert verzweifelnd vermisse wartezeit warnung widerspruch zogern zweifel zweifelhaft zurucktreten zusatzkosten",
        ),
        (
            -2,
            "aggressiv angelogen angst anwalt arger argere argerlich argern armselig aufgebracht aufregen bedrohen bedrohlich bedrohung beklagen beleidigend \
             beleidigt beleidigung beschadigt beschadigung beschimpft beschwere beschweren beschwerde beschwerden betrogen betrug betrugen blod blodsinn boswillig \
             defekt dreckig dreck dumm dummheit ekel emport enttauscht enttauschend enttauschung erbarmlich falsch feindselig frech frechheit frust frustriert \
             frustrierend gefahr gefahrlich gelogen gemein genervt geargert gestohlen hasslich hilflos hinterhaltig ignoriert illegal im_stich inakzeptabel inkompetent \
             irrefuhrend jammerlich kaputt klagen konflikt kundenunfreundlich leiden luge lugen lugner mangelnd mies miese missachtet mist mull nachlassig \
             nerven nervt nervig niedertrachtig nicht_funktioniert nutzlos panik peinlichkeit pfusch respektlos rucksichtslos ruiniert sauer schaden schadlich schimmel schimmelig \
             schlampig schlecht schlechte schlechter schlechtes schlimm schlimme schlimmer schmerz schmerzhaft schmutzig schockiert schrott schuldig sinnlos stinkt storrisch \
             streit tauschung unbrauchbar undicht unehrlich unfahig unfair unfreundlich ungerecht ungeeignet ungepflegt unhoflich unprofessionell unsinn \
             untauglich unverantwortlich unwahr unzufrieden unzufriedenheit unzulanglich unzumutbar unzuverlassig verargert verdorben verklagen verletzt verletzend \
             verloren verlust vernachlassigt verschwendet verschwendung verschmutzt versagen versagt versaut verweigert verweigern verzweifelt vorwurf wertlos \
             wut zerstort zumutung zerbrochen kakerlake kakerlaken abgezockt uberteuert",
        ),
        (
            -3,
            "abscheulich abzocke abzocker albtraum alptraum bodenlos ekelhaft eklig emporend entsetzlich entsetzt furchtbar furchterlich grasslich grauenhaft grauenvoll hass \
             hasse hassen holle idiot idioten katastrophal katastrophe kriminell lacherlich scheisse scheusslich schrecklich skandal skandalos unerhort unertraglich \
             unmoglichkeit unverschamt unverschamtheit unverzeihlich verbrecher verdammt widerlich wutend ubel schande schandlich schlimmste schlimmsten schlechteste",
        ),
        (0, "guten_tag guten_morgen guten_abend gute_nacht tut_mir"),
    ],
    negations: "nicht nichts nie niemals kein keine keinen keinem keiner keines niemand weder ohne kaum nirgends",
    intensifiers: "sehr wirklich extrem absolut total vollig ganz besonders so zu ausserst unglaublich richtig wahnsinnig enorm zutiefst uberaus echt hochst",
    softeners: "etwas bisschen ziemlich einigermassen relativ leicht teilweise wenig fast halbwegs",
    contrasts: "aber jedoch obwohl allerdings trotzdem dennoch doch sondern",
};
