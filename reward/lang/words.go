package lang

// functionWords are common function words of each language written with an alphabet that others share, compiled for this package:
// articles, pronouns, prepositions, conjunctions, auxiliaries and common adverbs.
var functionWords = map[string]string{
	"en": `the a an and or but if then else of to in on at by for from with without within into onto upon over under about above below after before
		between through during against among around toward towards across along behind beside beyond near off out up down i you he she it we they me him her
		us them my your his its our their mine yours hers ours theirs this that these those here there where when why how what which who whom whose is am are
		was were be been being have has had having do does did doing done will would shall should can could may might must not no nor neither either so such
		than too very just only also even still yet already again ever never always often sometimes now once all any both each every few many much more most
		other another some one two first last same own as because since while until though although however therefore thus hence let because said know
		think see get got go went come came make made take took like well good little great old new thing things way time man people day know must
		every anything something nothing everything someone everyone anyone himself herself itself themselves myself yourself don didn isn wasn doesn couldn
		wouldn won ll ve re shouldn we've need both step answer`,
	"de": `der die das den dem des ein eine einen einem einer eines und oder aber wenn dann sonst von zu zum zur in im an am auf aus bei mit ohne nach vor über unter
		zwischen durch für gegen um bis seit während wegen ich du er sie es wir ihr mich dich ihn uns euch mir dir ihm ihnen mein meine meinen meinem meiner dein deine
		sein seine seinen seinem seiner ihre ihren ihrem ihrer unser unsere euer dieser diese dieses diesen diesem jener jene jenes hier dort da wo wann warum
		wie was wer wen wem wessen welche welcher welches ist bin bist sind war waren wäre sei gewesen habe hat haben hatte hatten hätte werde wird werden
		wurde wurden würde kann können konnte könnte muss müssen musste soll sollte sollen will wollen wollte mag möchte darf nicht kein keine keinen nein ja so solche
		als auch noch nur schon sehr immer wieder nie niemals oft jetzt nun alle alles alle jeder jede jedes viel viele mehr meist andere anderen ander anderer etwas nichts man
		denn weil daß dass ob obwohl doch also daher deshalb mal selbst sich habe gegeben ganz wohl gar hin her hinaus zurück heute gestern gut groß
		damit dabei davon dazu darauf daran darin einmal eben ohne beim vom ins ans allein sondern zwei drei recht mehr welchen indem`,
	"fr": `le la les l un une des du de d et ou mais si alors donc car ni que qu qui quoi dont où quand comment pourquoi quel quelle quels quelles ce cet cette ces c
		ça cela ceci je j tu il elle on nous vous ils elles me m te t se s lui leur leurs y en mon ma mes ton ta tes son sa ses notre nos votre vos moi toi soi eux
		à au aux dans sur sous par pour avec sans chez vers entre contre depuis pendant avant après devant derrière jusque jusqu jusqu'à dès est suis es sommes êtes sont était
		étaient été être étant fut furent sera serait soit ai as a avons avez ont avait avaient eu avoir ayant eut aura aurait fait faire fit peut peuvent pouvait
		pouvoir doit doivent devait devoir veut vouloir ne n pas plus moins jamais rien aucun aucune personne non oui très trop bien mal peu beaucoup assez
		aussi encore déjà toujours souvent parfois ici là tout toute tous toutes autre autres même mêmes chaque quelque quelques plusieurs certains comme parce lorsque
		puis ensuite enfin tandis quoique afin ainsi cependant pourtant entre deux trois premier chose fois jour homme femme celui celle ceux celles voilà voici dit elle-même
		lui-même peut-être cet vers sans seul seulement presque`,
	"es": `el la los las lo un una unos unas y e o u pero si no ni que quien quienes cual cuales cuyo cuya donde cuando como cuanto porque pues aunque mientras
		de del a al en con sin por para sobre bajo entre hacia hasta desde contra según tras ante durante yo tú él ella ello nosotros vosotros ellos ellas usted ustedes me te
		se le les nos os mi mis tu tus su sus nuestro nuestra nuestros nuestras mío mía suyo suya este esta estos estas ese esa esos esas aquel aquella aquellos aquellas esto
		eso aquello aquí allí allá ahí es soy eres somos son era eran fue fueron ser sido siendo está están estaba estaban estar estoy sea fuese fuera ha han he hemos había
		habían haber hay hubo hubiera habiendo tiene tienen tenía tener hace hacer hizo hecho puede pueden podía poder debe deben debía quiere más menos muy mucho mucha muchos
		muchas poco poca pocos tan tanto tanta también tampoco ya aún todavía siempre nunca jamás ahora entonces luego después antes así sólo solo todo toda todos todas otro
		otra otros otras mismo misma mismos cada algún alguno alguna algunos algo nada nadie ningún ninguna uno dos tres bien mal sino pues cuál qué quién cómo cuándo dónde
		casi aun tal sí dijo decir gran hombre día vez cosa cosas tiempo parte`,
	"it": `il lo la i gli le l un uno una e ed o od ma se né che chi cui quale quali dove quando come perché poiché mentre quanto quanti di del dello della dei
		degli delle d a ad al allo alla ai agli alle da dal dallo dalla dai dagli dalle in nel nello nella nei negli nelle con col su sul sullo sulla sui sugli sulle per tra fra senza
		sotto sopra verso contro dopo prima durante io tu egli lui lei noi voi essi esse loro mi ti si ci vi ne me te sé mio mia miei mie tuo tua suo sua suoi sue nostro nostra
		nostri vostro questo questa questi queste quello quella quelli quelle quel quell quest ciò qui qua là lì è sono sei siamo siete era erano fu furono essere stato
		stata stati sia siano fosse sarà sarebbe ho hai ha abbiamo avete hanno aveva avevano avere avuto ebbe avrà avrebbe fa fare fatto può possono poteva potere deve devono
		dovere vuole non più meno molto molta molti molte poco troppo tanto così anche ancora già sempre mai ora adesso allora poi quindi dunque però invece tutto
		tutta tutti tutte altro altra altri altre stesso stessa ogni alcun alcuno alcuna alcuni alcune qualche niente nulla nessuno nessun nessuna ogni individuo cosa uomo
		due tre sì bene male dell all dall nell sull ciascuno ovvero oppure affinché`,
	"pt": `o a os as um uma uns umas e ou mas se nem que quem qual quais cujo cuja onde quando como quanto porque pois embora enquanto de do da dos das em no
		na nos nas num numa por pelo pela pelos pelas para com sem sob sobre entre até desde contra segundo após ante perante durante ao aos à às eu tu ele ela nós
		vós eles elas você vocês me te lhe lhes nos vos meu minha meus minhas teu tua seu sua seus suas nosso nossa nossos nossas este esta estes estas esse essa esses essas
		aquele aquela aqueles aquelas isto isso aquilo aqui ali lá é sou és somos são era eram foi foram ser sido sendo está estão estava estavam estar seja sejam fosse há
		tem têm tinha tinham ter tendo teve havia haver haja faz fazer fez feito pode podem podia poder deve devem devia quer não mais menos muito muita muitos muitas
		pouco tão tanto também já ainda sempre nunca jamais agora então depois antes assim só apenas todo toda todos todas outro outra outros outras mesmo mesma mesmos
		cada algum alguma alguns algo nada ninguém nenhum nenhuma dois duas três bem mal quer sim tal tais qualquer quaisquer nela nele neste nesta deste desta dele
		dela deles delas disso nisso ao homem coisa vez tempo toda pessoa direito`,
	"nl": `de het een en of maar als dan want dat die deze dit wie wat waar wanneer waarom hoe welke welk van te ten ter in op aan bij met zonder voor na naar uit over
		onder tussen door tegen om tot sinds tijdens wegens ik jij je gij ge u hij zij ze het wij we jullie mij me jou hem haar ons hun hen mijn uw zijn onze hier daar er
		is ben bent was waren geweest wezen heb hebt heeft hebben had hadden gehad word wordt worden werd werden geworden kan kunnen kon konden moet moeten moest zal
		zullen zou zouden wil willen wilde mag mogen mocht niet geen nee neen ja zo zulke ook nog nu al reeds altijd nooit vaak soms toen alle alles elk elke ieder
		iedere veel vele meer meest weinig ander andere anderen iets niets men zich zichzelf zelf omdat doordat terwijl hoewel toch dus daarom echter zeer heel wel weer
		hunne zijne hare mijne eene eenen eener dezer dien des der den zei zeide zegde gaat ging gaan komt kwam doen deed laat liet twee drie eerst laatste gelijk noch zonder
		welken hetzelfde daarop daarna daarvan waarin waarop hebt zijt zoo toen tegen hunnen worde goed groot man dag`,
	"pl": `i a oraz lub albo czy ale lecz jednak więc zatem bo gdyż ponieważ że żeby aby jeśli jeżeli gdy kiedy gdzie jak jaki jaka jakie który która które których którym
		którą którego której kto co czego czemu czym dlaczego w we z ze na do od dla po przez przed za pod nad przy o u bez między ku wśród obok około ja ty on ona ono my wy
		oni one mnie mi mną ciebie cię ci jego go jemu mu nim jej ją nią ich im nimi nas nam nami was wam się siebie sobie sobą mój moja moje twój nasz nasza nasze swój swoja swoje swego
		swej swoją swym swych ten ta to tego tej temu tym tą te tych tymi tamten tam tu tutaj jest są był była było byli były być będzie będą bym by byłby jestem jesteśmy ma mają miał miała
		mieć może mogą mógł można musi muszą trzeba nie nic nikt nigdy tak tylko też także również już jeszcze zawsze często teraz wtedy potem bardzo więcej mniej
		wszystko wszyscy wszystkie wszystkich każdy każda każde każdego inny inna inne innych sam sama samo jakiś jakaś coś ktoś niż niby nawet prawie zaś jakby ani ku
		dwa trzy raz pan ani wśród jakieś pewien pewnego człowiek czas dni poprzez jako`,
	"cs": `a i ale nebo či však tedy proto protože neboť že aby jestli jestliže když kdyby kde kdy jak jaký jaká jaké který která které kterého kterou kterým kterých kdo
		co čeho čemu čím proč v ve z ze na do od ode pro po přes před za pod nad při o u bez mezi k ke ku s se podle kolem vedle já ty on ona ono my vy oni ony mne mě mi mnou
		tebe tě ti tobě jeho ho jemu mu něm ním jí ji ní jich jim nimi nás nám námi vás vám si sebe sobě sebou můj moje má tvůj náš naše váš vaše svůj svou svého své svých
		svým ten ta to toho té tomu tím tu ti těch těm tam tady zde je jsou byl byla bylo byli byly být bude budou jsem jsi jsme jste bych by bychom má mají měl měla mít může
		mohou mohl musí musel lze ne není nic nikdo nikdy ano tak jen jenom také též už již ještě vždy vždycky často teď nyní potom pak velmi více méně všechno všichni
		všechny všech každý každá každé jiný jiná jiné sám sama samo nějaký něco někdo než asi snad ani přece dva tři jednou pan člověk jako zase tento tato toto této
		jste jsi prosím dobře aspoň kdežto aniž`,
	"hu": `a az egy és vagy de ha akkor hogy mert mivel mint míg amíg pedig is sem se nem ne igen nincs van vannak volt voltak lesz lenne lett legyen való én te ő mi ti ők
		engem téged őt minket titeket őket nekem neked neki nekünk nektek nekik enyém ez az ezt azt ennek annak ezek azok ezen azon ebben abban ezzel azzal erre arra itt ott ide oda
		innen onnan hol hova hová honnan mikor miért hogyan hogy ki kik kit mit mi mely melyik amely amelyet amelynek aki akik akit ami amit amint ahol amikor csak már még most
		majd mindig soha sohasem néha gyakran nagyon igen túl több kevés sok minden mindenki valami valaki semmi senki más másik maga magát saját egész így úgy olyan
		ilyen annyi ennyi után előtt alatt fölött felett mellett között közt nélkül szerint miatt által felé iránt ellen számára részére fel le ki be el meg vissza össze
		kell lehet tud tudja akar fog szokott hát ugye talán persze azonban viszont tehát ezért azért éppen aztán azután két három első egyik felelte mondta kérdezte
		volna lenni ember úr kapitány hiszen ugyan rá vele róla tőle benne belőle hozzá nála joga joguk`,
	"ro": `un o unei unui unor niște și sau ori dar iar însă ci dacă atunci că să de din la în într între pe prin pentru cu fără spre către până după înainte sub
		peste asupra despre contra ca cât când unde cum cine ce care cărui cărei căror pe eu tu el ea noi voi ei ele mine tine sine mă te se ne vă îl îi le li lui lor mi ți și
		i meu mea mei mele tău ta său sa săi sale nostru noastră noștri vostru acest această acești aceste aceasta acesta acel acea acei acele acela aceea asta ăsta atât aici acolo
		este e sunt ești suntem era erau fost fi fie fiind fiu am ai are avem aveți au avea aveau avut va vor voi vei ar aș ați face făcut poate pot putea trebuie vrea nu nici mai
		foarte mult multă mulți multe puțin puțină tot toată toți toate alt altă alți alte altul alta fiecare oricine orice nimic nimeni niciun nicio ceva cineva câțiva tocmai
		numai doar chiar deja încă acum apoi astfel așa deci prin însuși însă deși fiindcă căci pentru că doi două trei bine rău dintre dintr dintru zice zise spre cel
		cea cei cele ale al a ai lângă uite dată om lucru ci iată parcă fără precum ş şi să ţi aşa`,
	"sv": `en ett den det de och eller men om så att som än av i på till från med utan för vid hos under över mellan genom mot efter före innan sedan kring jag du
		han hon vi ni dem mig dig honom henne oss er sig min mitt mina din ditt dina sin sitt sina hans hennes dess vår vårt våra deras denna detta dessa här där vart var när varför
		hur vad vem vilken vilket vilka är var varit vara vore har hade haft ha blir blev blivit bli kan kunde kunnat ska skall skulle vill ville måste bör får fick må inte icke ej ingen
		inget inga nej ja också även bara redan ännu alltid aldrig ofta nu då sedan mycket mer mest många få alla allt varje någon något några annan annat andra samma själv
		därför eftersom medan fast dock alltså två tre först samt envar vars sådan sådant sådana rätt ut upp ned in fram åt utav enligt inom bland gentemot`,
	"tr": `ve veya ya da de ile için ama fakat ancak eğer ki çünkü gibi kadar göre karşı sonra önce beri doğru bir bu şu o bunlar şunlar onlar ben sen biz siz bana sana ona
		bize size onlara beni seni onu bizi sizi onları benim senin onun bizim sizin onların kendi kendisi kendine burada orada nerede ne neden niçin nasıl kim hangi kaç
		mi mı mu mü değil var yok olan olarak olduğu olduğunu olur oldu olmak olması olmayan edilir edilen eder etmek etti ise idi imiş her hiç hiçbir bazı bütün tüm
		çok az daha en pek artık şimdi hemen hep hala yine bile sadece yalnız başka diğer aynı şey şeyi zaman üzere üzerinde altında içinde arasında tarafından
		dolayı rağmen böyle şöyle öyle iki üç ilk son bunu şunu buna şuna bundan ondan bunun herkes herkesin kimse hakkı hakkına haiz haizdir dair veyahut gerek vardır yoktur`,
	"vi": `và hoặc hay nhưng nếu thì là của cho với từ đến trong ngoài trên dưới giữa bởi vì do để mà rằng như khi lúc ở tại về theo bằng không có được bị đã đang sẽ
		cũng còn chỉ rất lắm quá hơn nhất mọi mỗi các những một hai ba này kia đó đây ấy ai gì nào sao đâu tôi bạn anh chị em ông bà họ chúng ta mình nó người phải nên cần
		muốn thể nhau vào ra lên xuống lại đi tất cả cùng nhiều ít vẫn chưa đều nữa sự việc cái con điều quyền`,
	"id": `yang dan atau tetapi tapi jika kalau maka bahwa karena sebab untuk bagi dari ke di pada dalam dengan tanpa oleh antara atas bawah terhadap tentang sampai hingga
		sejak saya aku kamu anda dia ia kami kita mereka nya ini itu tersebut sini sana situ mana kapan mengapa bagaimana apa siapa adalah ialah merupakan ada tidak bukan tak
		belum sudah telah akan sedang masih dapat bisa boleh harus mau ingin juga pun lagi saja hanya sangat lebih paling semua setiap tiap segala para seorang seseorang suatu
		sebuah satu dua tiga banyak sedikit lain sama seperti sebagai secara serta namun sehingga supaya agar ketika waktu sebelum sesudah setelah selama orang hak berhak dirinya
		sendiri menjadi melakukan mempunyai siapapun maupun baik dia`,
	"ru": `и в во не на я с со он она оно они мы вы ты что чтобы как а но или если то же бы ли да нет из за от до по под над при для без о об у к ко про через между перед около
		после его её ее ему ей их им ими него неё нее нему ней них ним меня мне мной тебя тебе нас нам нами вас вам вами себя себе собой мой моя моё мои твой наш наша наше
		наши ваш свой своя своё своего своей своих это этот эта эти этого этой этом этому тот та те того той тому том тех кто кого кому чем чего чему который которая которое
		которые которого которой которых котором где куда откуда когда почему зачем так такой такая такое такие там тут здесь туда был была было были быть будет будут есть
		может мог могли можно нужно надо нельзя уже ещё еще только даже очень все всё всех всем весь вся всего всякий каждый другой другая другие сам сама сами
		один одна два три какой какая какое потом теперь тогда всегда никогда ничего никто какая-то какой-то хотя потому поэтому также тоже лишь почти чтоб однако впрочем
		более менее много мало ни ведь вот чуть раз`,
	"uk": `і й та в у не на я з із зі він вона воно вони ми ви ти що щоб як а але або чи якщо якби то ж же б би так ні за від до по під над при для без про через між перед
		коло після його її йому їй їх їм ними нього неї ній них ним мене мені мною тебе тобі нас нам нами вас вам вами себе собі собою мій моя моє мої твій наш наша наше
		наші ваш свій своя своє свого своєї своїх своїм це цей ця ці цього цієї цьому той та ті того тієї тому тим тих хто кого кому чим чого чому який яка яке які якого якої
		яких якому де куди звідки коли навіщо такий така таке такі там тут сюди туди був була було були бути буде будуть є може міг могли можна треба потрібно вже ще тільки
		навіть дуже всі все всіх всім весь вся всього кожний кожна кожен інший інша інші сам сама самі один одна два три потім тепер тоді завжди ніколи нічого ніхто хоч хоча тому
		також теж лише майже однак більше менше багато мало ані адже ось мов немов неначе аж`,
	"bg": `и в във не на аз с със той тя то те ние вие ти че да как а но или ако ли се си са е съм сме сте беше бяха бил била било били бъде бъдат ще би от до по под над при за
		без през между пред след около към му я им ги го й него нея тях мен мене тебе нас вас себе мой моя моето техния неговия нейния наш наша своя своето своите своята свои това този
		тази тези онзи онова кой коя кое кои който която което които къде кога защо така такъв такава такова такива там тук има няма имат може могат трябва вече още само
		даже много всички всичко всеки всяка всяко друг друга друго други сам един една едно два три какъв какво после сега тогава винаги никога нищо никой обаче също
		както според относно чрез нито`,
	"ar": `في من على إلى عن مع بعد قبل عند لدى بين تحت فوق خلال حول ضد دون غير سوى حتى منذ و أو أم ثم بل لكن ولكن إن أن إنّ أنّ وأن فإن لأن كأن لو إذا إذ لما كما كيف
		أين متى ماذا لماذا من ما هل هو هي هم هن أنا نحن أنت أنتم هذا هذه هؤلاء ذلك تلك ذاك هنا هناك الذي التي الذين اللاتي كان كانت كانوا يكون تكون ليس ليست لم لن لا ما قد لقد
		سوف كل كلها جميع بعض أي أية أحد واحد فيه فيها منه منها عليه عليها إليه إليها به بها له لها لهم عنه عنها وهو وهي ولا وما ومن وفي فلا فلم فلما ولم وقد فقد وكان
		فكان التى الى او ان انه انها وأنه بأن بما مما لكل شخص حق الحق مثل نفسه ذلك وذلك بذلك كذلك أيضا جدا حيث عليهم بهذا لهذا فهو ولو وإن`,
	"fa": `و در به از که را با برای تا بر یا اگر اما ولی چون زیرا هم نیز نه هر همه هیچ یک دو این آن اینها آنها او من تو ما شما ایشان آنان خود خویش است هست نیست بود بودند باشد
		باشند شود شده شد می نمی کند کنند کرد کرده دارد دارند داشت داشته باید نباید نمود نماید تواند چه چرا چگونه کجا کی کسی کس هرکس چیزی دیگر دیگران بین میان روی زیر پیش پس بعد
		قبل مورد حق بدون مگر بلکه چنین چنان همان همین وی آنچه یکی بعضی حتی ها های ای`,
}

// endings are letter sequences that words of a language often begin with (^), end with ($) or hold, and others' rarely.
var endings = map[string]string{
	"en": `ing$ tion$ ght th^ ^th ^wh ough ly$ ness$ ed$ ^kn ould$ ay$ ow$ ee`,
	"de": `sch ung$ lich keit$ heit$ ^ge ^be ^ver ^zu chen$ ^auf ^ein igt$ ete$ eit en$ ich ck tz ei`,
	"fr": `eux$ eau ait$ aient$ tion$ ment$ oi ou$ ^qu ez$ eur$ ais$ euse$ elle$ ette$ ant$ ées$ ée$ és$ oir$ que$`,
	"es": `ción$ ciones$ dad$ ado$ ada$ ados$ ando$ iendo$ aba$ aban$ ía$ ían$ mente$ ^qu ll ue ie os$ as$ ero$`,
	"it": `zione$ zioni$ tà$ mente$ gli zz cch tto$ tta$ ava$ avano$ ando$ endo$ ità$ ogni agg ett`,
	"pt": `ção$ ções$ dade$ ado$ ada$ ava$ avam$ ando$ endo$ nh lh ão$ ões$ ém$ am$ eir ou$`,
	"nl": `ij heid$ lijk$ aa ee oo uu ^ge en$ sch ^ver ^be ouw eeuw cht tje$ uit oe ui`,
	"pl": `cz sz rz ość$ ości$ ego$ ych$ ymi$ ami$ ach$ owi$ ował wy^ ^prz ^wy ie$ ął$ ły$ ła$ ało$ ny$ ów$ em$ ję$ ką$ dz w$ ew`,
	"cs": `ého$ ých$ ými$ ost$ osti$ ení$ ání$ oval ^př ^vy ou$ ěl ch$ ův ám$ ovat$ il$ al$ ní$ ký$ ství$ sk`,
	"hu": `sz gy ny ek$ ak$ ok$ nak$ nek$ ban$ ben$ tól$ től$ hoz$ hez$ val$ vel$ ott$ ett$ ság$ ség$ ik$ ra$ re$ ból$ ből$ ^meg ^el cs zs ly tt$ ta$ te$`,
	"ro": `ul$ ului$ ilor$ lor$ ea$ ele$ ii$ ește$ ește ează$ ându ind$ ând$ ă$ ește ţi$ ți$ şi escu ează aş oare`,
	"sv": `ning$ het$ heten$ lig$ ligt$ ande$ ad$ ade$ arna$ erna$ orna$ ^för ^sk skap$ isk$ ^be ighet`,
	"tr": `lar$ ler$ ları$ leri$ ının$ inin$ dır$ dir$ mak$ mek$ lık$ lik$ ması$ mesi$ yor nda$ nde$ ndan$ nden$ iyet üz ğ`,
	"vi": `^ng ^nh ^th ^tr ^ph ^kh ^qu ng$ nh$ ch$`,
	"ru": `ый$ ый ого$ его$ ость$ ать$ ять$ ть$ лся$ ться$ ыми$ ых$ ее$ ое$ ие$ ться ел$ ешь$ ишь$ ыл тся$ ие ство$ ний$`,
	"uk": `ий$ ого$ ої$ ість$ ати$ ити$ іти$ ться$ ився$ ими$ их$ ає$ ів$ ння$ ття$ ому$ ві$ лі$ ував тися$ ьк`,
	"bg": `ът$ ята$ ото$ ите$ ията$ ане$ ение$ ения$ ва$ ски$ ост$ ност$ ящ ат$ еше$`,
	"id": `kan$ nya$ an$ ^ber ^mem ^men ^meng ^di ^per ^ter ^ke ^pe ^se lah$ ang$`,
}

// letters are those beyond a to z that each language with the Latin alphabet is written with, and those of the Cyrillic and
// Arabic ones that not all have.
var letters = map[string]string{
	"en": "", "id": "é", "de": "äöüß", "fr": "àâæçéèêëîïôœùûü", "es": "áéíñóúü", "it": "àèéìíîòóùú", "pt": "àáâãçéêíóôõúü", "nl": "áéëíïóöúèü", "pl": "ąćęłńóśźż",
	"cs": "áčďéěíňóřšťúůýž", "hu": "áéíóöőúüű", "ro": "ăâîșşțţ", "sv": "åäöé", "tr": "çğıöşüâîû",
	"vi": "àáảãạăằắẳẵặâầấẩẫậèéẻẽẹêềếểễệìíỉĩịòóỏõọôồốổỗộơờớởỡợùúủũụưừứửữựỳýỷỹỵđ",
	"ru": "ёъыэ", "uk": "іїєґ", "bg": "ъ", "ar": "يكةىإؤأ", "fa": "پچژگکیأؤئآ",
}

// rare are letters of a to z that a language uses in foreign words only.
var rare = map[string]string{
	"fr": "wk", "es": "wk", "it": "wkjxy", "pt": "wky", "ro": "wkqy", "pl": "qvx", "cs": "qwx", "hu": "qwx", "tr": "qwx", "vi": "fjwz", "id": "qx", "sv": "qwz", "nl": "qx", "de": "",
}
